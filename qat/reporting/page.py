"""The frame of a self-contained page: one style, light and dark, and a policy that forbids any request."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Html:
    """Markup that is ready for a page: nothing in it is escaped again."""

    markup: str


def escape_text(content: str | Html) -> str:
    return content.markup if isinstance(content, Html) else html.escape(content)


def document(title: str, body: Sequence[str], *, style: str = "", script: str = "") -> str:
    """A whole HTML document whose policy forbids any request.

    Args:
        title: title of the window, plain text, escaped here.
        body: parts that are HTML already.
        style: name of a file of CSS in `assets` that follows that of all pages; "" for none.
        script: name of a file of JavaScript in `assets` that follows that of the copy buttons; "" for none.

    Returns:
        The text of the document.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_read('page.css')}{_read(style)}</style></head>"
        f"<body>{''.join(body)}<script>{_read('page.js')}{_read(script)}</script></body></html>\n"
    )


def _read(name: str) -> str:
    return (resources.files("qat.reporting") / "assets" / name).read_text(encoding="utf-8") if name else ""


def section(title: str, *parts: str) -> str:
    """A <section> with a heading; "" where it would be empty."""
    content = "".join(parts)
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>" if content else ""


def sentence(text: str) -> Html:
    """A table's cell that is wrapped, where others stay on one line."""
    return Html(f'<span class="sentence">{escape_text(text)}</span>')


def paragraph(text: str, kind: str = "") -> str:
    """A <p> of plain text, which is escaped.

    Args:
        text: plain text.
        kind: CSS class, as `soft`; "" for none.

    Returns:
        HTML of one <p>.
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
        titles: titles of the columns, plain text; no head is written where all are "".
        rows: one list of cells per row, as many as there are titles; a str is escaped, `Html` is not.
        numbers: titles of columns that are aligned on the right.
        highlighted: index of the row in bold, from 0; None for none.

    Returns:
        HTML of the table.
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
        f'<tr><td>{html.escape(name)}</td><td><span class="bar">'
        f'<i style="width:calc((100% - 5.5em) * {max(share, 0.004):.3f});background:{colour}"></i>'
        f"{html.escape(words)}</span></td></tr>"
        for name, share, words, colour in rows
    ]
    return f'<table class="bars"><tbody>{"".join(lines)}</tbody></table>'
