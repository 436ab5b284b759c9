"""A comparison as one page that stands alone: tables that sort and filter, charts inline, nothing from a network."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from qat.comparison.comparison import Comparison
from qat.comparison.table import Row
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
from qat.reporting.comparison_verdict import verdict_lines
from qat.reporting.page import Html, document, escaped, paragraph
from qat.rundir import REPORT

_STYLE = """
body{max-width:1280px}.scroll{max-height:36em;overflow:auto;border:1px solid var(--line)}table{width:100%}
th{position:sticky;top:0;background:var(--panel);cursor:pointer}th::after{content:" \\2195";color:var(--soft)}
td:first-child{white-space:normal;min-width:18em;overflow-wrap:anywhere}
td:last-child{white-space:normal;min-width:6em}tr:hover td{background:var(--panel)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,34em),1fr));gap:1em;margin-top:1em}
.charts svg{max-width:none;border:1px solid var(--line)}svg .title{font-weight:600;font-size:13px}
path.grid{display:inline;stroke:var(--line);fill:none}.front{stroke:#888;stroke-dasharray:5 4;fill:none}
input{font:inherit;padding:.25em .5em;width:22em;max-width:100%;margin:.3em 0}li{margin:.3em 0}a{color:var(--good)}
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


def page(comparison: Comparison, charts: Sequence[Chart], out: Path | None = None) -> str:
    """The whole page. All text from run directories is escaped, and the page's own policy forbids any request.

    Args:
        out: where the page will stand; from there each run links to its report.
    """
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    runs = [[_linked(row, out), *row_cells(row, comparison.telling)[1:]] for row in comparison.rows]
    body = [
        f"<h1>Comparison of runs</h1>{paragraph(f'{now}. {counts(comparison)}.', 'soft')}",
        _verdict(comparison),
        _section("Configurations", CONFIGURATION_TITLES, [configuration_cells(e) for e in comparison.configurations]),
        '<div class="charts">' + "".join(map(svg, charts)) + "</div>",
        _section("QAT against PTQ", TEST_TITLES, [test_cells(test) for test in comparison.tests], search=False),
        _section("Runs", row_titles(comparison), runs),
        _section(
            "Directories left out", ("directory", "reason"), [[str(e.folder), e.reason] for e in comparison.refused]
        ),
        _list("How to read the numbers", [*statistics_text(comparison), *comparison.notes]),
    ]
    return document("Comparison of runs", body, style=_STYLE, script=_SCRIPT)


def _verdict(comparison: Comparison) -> str:
    head, *rest = verdict_lines(comparison) or ["No quantized file to compare."]
    return f'<div class="band good"><p class="head">{escaped(head)}</p>{"".join(map(paragraph, rest))}</div>'


def _linked(row: Row, out: Path | None) -> str | Html:
    """The run's name, a link to its report where it has one."""
    report = row.run.folder / REPORT
    if out is None or not report.is_file():
        return row.name
    address = quote(os.path.relpath(report, out))
    return Html(f'<a href="{address}">{escaped(row.name)}</a>')


def _section(title: str, titles: Sequence[str], rows: Sequence[Sequence[str | Html]], *, search: bool = True) -> str:
    if not rows:
        return f'<h2>{title}</h2><p class="soft">none</p>'
    kept = [place for place in range(len(titles)) if any(row[place] for row in rows)]
    head = "".join(f"<th>{html.escape(titles[place])}</th>" for place in kept)
    lines = "".join(f"<tr>{''.join(f'<td>{escaped(row[place])}</td>' for place in kept)}</tr>" for row in rows)
    box = '<input type="search" placeholder="filter rows">' if search and len(rows) > 5 else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<h2>{title} ({len(rows)})</h2>{box}<div class="scroll">{table}</div>'


def _list(title: str, lines: Sequence[str]) -> str:
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"
