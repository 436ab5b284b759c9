"""The frame of a self-contained page: one style, light and dark, and a policy that forbids any request."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
STYLE = """
:root{color-scheme:light dark;--text:#1d232a;--soft:#5b6672;--back:#fff;--panel:#f5f7f9;--line:#dfe4e9;
--good:#0072b2;--bad:#c34a00;--warn:#8a6100}
@media (prefers-color-scheme:dark){:root{--text:#e4e9ee;--soft:#9aa7b4;--back:#14181d;--panel:#1d232a;--line:#353e48;
--good:#56b4e9;--bad:#ff8a4c;--warn:#e6b84c}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1180px;padding:1.2em 1em 4em;
color:var(--text);background:var(--back)}
h1{font-size:1.5em;line-height:1.25;margin:.2em 0}h2{font-size:1.15em;margin:2em 0 .5em}
h3{font-size:1em;margin:1em 0 .3em}.key{margin-right:1em;white-space:nowrap}
p{margin:.4em 0}p,li{overflow-wrap:anywhere}.soft{color:var(--soft)}.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:.32em .7em;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;color:var(--soft)}td.number,th.number{text-align:right}tr.own td{font-weight:600}
code,pre{font:12.5px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{overflow-wrap:anywhere}pre{background:var(--panel);border:1px solid var(--line);border-radius:6px;
padding:.8em;margin:.4em 0;overflow-x:auto}
.code{position:relative}.line pre{white-space:pre-wrap;overflow-wrap:anywhere}
.code button{position:absolute;top:.45em;right:.45em}.code pre{padding-right:5em}
button{font:12px system-ui,sans-serif;color:var(--text);background:var(--back);border:1px solid var(--line);
border-radius:5px;padding:.15em .6em;cursor:pointer}
.band{border-left:6px solid var(--tone);background:var(--panel);border-radius:6px;padding:.8em 1em;margin:1em 0}
.band .head{font-weight:600;color:var(--tone)}.good{--tone:var(--good)}.bad{--tone:var(--bad)}.warn{--tone:var(--warn)}
.dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.45em;vertical-align:baseline}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24em),1fr));gap:1em 1.6em}.grid>*{min-width:0}
.matrix th,.matrix td{text-align:center!important;padding:.3em .5em;min-width:2.4em}
figure{margin:0}figcaption{font-weight:600;font-size:13.5px;margin-bottom:.2em}
svg{display:block;width:100%;max-width:540px;height:auto;color:var(--text);font:13px system-ui,sans-serif}
svg text{fill:currentColor;paint-order:stroke;stroke:var(--back);stroke-width:3px;stroke-linejoin:round}
svg .axis{stroke:var(--line);fill:none}svg .soft{fill:var(--soft)}
.bars{width:100%;table-layout:fixed}.bars td{border:0;padding:.1em .5em}.bars td:first-child{overflow:hidden;
text-overflow:ellipsis;width:38%}.bar{display:flex;align-items:center;gap:.4em}
.bar i{display:block;height:.95em;border-radius:2px;flex:none}
details{margin:.5em 0}summary{cursor:pointer;font-weight:600}
@media (max-width:640px){.code button{position:static;margin:.2em 0}.code pre{padding-right:.8em}}
"""
COPY = """
for (const button of document.querySelectorAll('.code button')) button.addEventListener('click', async () => {
  const text = button.parentElement.querySelector('pre').textContent;
  try { await navigator.clipboard.writeText(text); }
  catch { const range = document.createRange(); range.selectNodeContents(button.parentElement.querySelector('pre'));
          const chosen = getSelection(); chosen.removeAllRanges(); chosen.addRange(range);
          document.execCommand('copy'); }
  button.textContent = 'Copied'; setTimeout(() => button.textContent = 'Copy', 1500);
});
"""


@dataclass(frozen=True)
class Html:
    """Markup that is ready for a page: nothing in it is escaped again."""

    markup: str


def escape_text(content: str | Html) -> str:
    return content.markup if isinstance(content, Html) else html.escape(content)


def document(title: str, body: Sequence[str], *, style: str = "", script: str = "") -> str:
    """A whole HTML document whose policy forbids any request.

    Args:
        title: plain text, escaped here.
        body: parts that are HTML already.
        style: CSS after that of all pages.
        script: JavaScript after that of the copy buttons.

    Returns:
        The HTML.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}{style}</style></head>"
        f"<body>{''.join(body)}<script>{COPY}{script}</script></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A <section> with a heading; "" where it would be empty."""
    content = "".join(parts)
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>" if content else ""


def paragraph(text: str, kind: str = "") -> str:
    """A <p> of plain text, which is escaped.

    Args:
        text: plain text.
        kind: CSS class, as `soft`; "" for none.

    Returns:
        The HTML.
    """
    return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"


def code(text: str) -> str:
    """A <pre> with a button that copies it; a single line, as a command, is wrapped so that all of it is visible."""
    kind = "code" if "\n" in text else "code line"
    return f'<div class="{kind}"><pre>{html.escape(text)}</pre><button type="button">Copy</button></div>'


def details(title: str, *parts: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{''.join(parts)}</details>"


def dot(colour: str) -> str:
    return f'<span class="dot" style="background:{colour}"></span>'


def table(
    titles: Sequence[str],
    rows: Sequence[Sequence[str | Html]],
    *,
    numbers: Sequence[str] = (),
    highlighted: int | None = None,
) -> str:
    """A <table> in a box that scrolls sideways.

    Args:
        titles: of the columns; no head is written where all are "".
        rows: as many cells each as there are titles; a str is escaped, `Html` is not.
        numbers: titles of columns that are aligned on the right.
        highlighted: index of the row in bold; None for none.

    Returns:
        The HTML.
    """
    classes = [' class="number"' if title in numbers else "" for title in titles]
    head = "".join(f"<th{kind}>{html.escape(title)}</th>" for title, kind in zip(titles, classes, strict=True))
    body_rows = [
        ("<tr class='own'>" if index == highlighted else "<tr>")
        + "".join(f"<td{kind}>{escape_text(cell)}</td>" for cell, kind in zip(row, classes, strict=True))
        + "</tr>"
        for index, row in enumerate(rows)
    ]
    head = f"<thead><tr>{head}</tr></thead>" if any(titles) else ""
    return f'<div class="scroll"><table>{head}<tbody>{"".join(body_rows)}</tbody></table></div>'


def bars(rows: Sequence[tuple[str, float, str, str]]) -> str:
    """A bar per row, its number behind it, from (name, share of the longest bar 0-1, number as text, colour)."""
    lines = [
        f'<tr><td title="{html.escape(name)}">{html.escape(name)}</td><td><span class="bar">'
        f'<i style="width:{72 * max(share, 0.004):.1f}%;background:{colour}"></i>{html.escape(words)}</span></td></tr>'
        for name, share, words, colour in rows
    ]
    return f'<table class="bars"><tbody>{"".join(lines)}</tbody></table>'
