"""A comparison as one page that stands alone: tables that sort and filter, charts inline, nothing from a network."""

from __future__ import annotations

import html
from collections.abc import Sequence

from qat.comparison.comparison import Comparison
from qat.reporting.chart import Chart, svg
from qat.reporting.comparison_text import (
    CONFIGURATION_TITLES,
    TEST_TITLES,
    configuration_cells,
    counts,
    row_cells,
    row_titles,
    statistics_text,
    test_cells,
)

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:1.5em auto;max-width:1240px;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.15em;margin:1.6em 0 .5em}
.scroll{overflow:auto;max-height:36em;border:1px solid #ddd}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:.3em .6em;text-align:left;white-space:nowrap;border-bottom:1px solid #eee}
th{position:sticky;top:0;background:#f4f4f4;cursor:pointer}th::after{content:" \\2195";color:#bbb}
td:first-child{white-space:normal;min-width:18em;overflow-wrap:anywhere}
td:last-child{white-space:normal;min-width:6em}tr:hover td{background:#f7fbff}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(34em,1fr));gap:1em;margin-top:1em}
svg{width:100%;height:auto;font:12px system-ui,sans-serif;border:1px solid #eee}
svg .title{font-weight:600;font-size:13px}
.grid{stroke:#e6e6e6;fill:none}.front{stroke:#888;stroke-dasharray:5 4;fill:none}
input{font:inherit;padding:.25em .5em;width:22em;margin:.3em 0}li{margin:.3em 0}.none{color:#777}
"""

_SCRIPT = """
for (const table of document.querySelectorAll('table')) {
  const body = table.tBodies[0], lines = [...body.rows];
  const number = text => { const found = text.replace('\\u2212', '-').match(/^[+-]?[0-9.]+(e[+-]?[0-9]+)?/i);
                           return found ? parseFloat(found[0]) : NaN; };
  table.tHead.querySelectorAll('th').forEach((title, column) => title.addEventListener('click', () => {
    const falling = title.dataset.order !== 'falling';
    title.dataset.order = falling ? 'falling' : 'rising';
    const key = line => line.cells[column].textContent;
    lines.sort((a, b) => {
      const [x, y] = [key(a), key(b)], [m, n] = [number(x), number(y)];
      if ((x === '') !== (y === '')) return x === '' ? 1 : -1;
      const order = !isNaN(m) && !isNaN(n) ? m - n : x.localeCompare(y, undefined, {numeric: true});
      return falling ? -order : order;
    });
    body.append(...lines);
  }));
  const box = table.parentElement.previousElementSibling;
  if (box && box.tagName === 'INPUT') box.addEventListener('input', () => {
    const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const line of lines) {
      const text = line.textContent.toLowerCase();
      line.hidden = !words.every(word => text.includes(word));
    }
  });
}
"""


def page(comparison: Comparison, charts: Sequence[Chart]) -> str:
    """The whole page. All text from run directories is escaped, and the page's own policy forbids any request."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
    body = [
        f"<h1>Comparison of runs</h1><p>{html.escape(counts(comparison))}.</p>",
        _section("Configurations", CONFIGURATION_TITLES, [configuration_cells(e) for e in comparison.configurations]),
        '<div class="charts">' + "".join(map(svg, charts)) + "</div>",
        _section("QAT against PTQ", TEST_TITLES, [test_cells(test) for test in comparison.tests], search=False),
        _section(
            "Directories left out", ("directory", "reason"), [[str(e.folder), e.reason] for e in comparison.refused]
        ),
        _list("How to read the numbers", [*statistics_text(comparison), *comparison.notes]),
        _section("Runs", row_titles(comparison), [row_cells(row, comparison.telling) for row in comparison.rows]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width"><title>Comparison of runs</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}<script>{_SCRIPT}</script></body></html>\n"
    )


def _section(title: str, titles: Sequence[str], rows: Sequence[Sequence[str]], *, search: bool = True) -> str:
    if not rows:
        return f'<h2>{title}</h2><p class="none">none</p>'
    kept = [place for place in range(len(titles)) if any(row[place] for row in rows)]
    head = "".join(f"<th>{html.escape(titles[place])}</th>" for place in kept)
    lines = "".join(f"<tr>{''.join(f'<td>{html.escape(row[place])}</td>' for place in kept)}</tr>" for row in rows)
    box = '<input type="search" placeholder="words that a row must hold">' if search and len(rows) > 5 else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<h2>{title} ({len(rows)})</h2>{box}<div class="scroll">{table}</div>'


def _list(title: str, lines: Sequence[str]) -> str:
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"
