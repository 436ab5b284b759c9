"""A comparison as one self-contained page: tables that sort and filter, charts inline, nothing from a network."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from qat.comparison.comparison import Comparison
from qat.comparison.table import Row
from qat.reporting.chart import Chart
from qat.reporting.comparison_text import (
    CONFIGURATION_TITLES,
    TEST_TITLES,
    counts_text,
    explain_statistics,
    format_configuration,
    format_row,
    format_test,
    row_titles,
)
from qat.reporting.comparison_verdict import format_comparison_verdict
from qat.reporting.page import Html, document, escape_text, paragraph, sentence
from qat.reporting.scatter_svg import draw_scatter_chart
from qat.rundir import REPORT

LONG = 30  # rows of a table; with more it scrolls in a box of its own

TITLE = "Comparison of runs"


def comparison_page(comparison: Comparison, charts: Sequence[Chart], out: Path | None = None) -> str:
    """The whole page. All text from run directories is escaped, and the page's own policy forbids any request.

    Args:
        comparison: rows, configurations, tests and refused directories.
        charts: charts to draw inline as SVG, in their order.
        out: directory that the page is written into, from which each run links to its report; None for no links.

    Returns:
        The text of a whole HTML document.
    """
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    machines = dict.fromkeys(run.made_by["machine"] for run in comparison.runs)
    measured_on = f"Measured on: {', '.join(list(machines)[:3])}." if machines else ""
    body = [
        f"<h1>Comparison of runs</h1>{paragraph(f'{date}. {counts_text(comparison)}. {measured_on}', 'soft')}",
        _verdict(comparison),
        _section("Configurations", *_configurations(comparison)),
        '<div class="charts">' + "".join(map(draw_scatter_chart, charts)) + "</div>",
        _section("QAT against PTQ", TEST_TITLES, [format_test(test) for test in comparison.tests], search=False),
        _section("Runs", row_titles(comparison), list(_run_cells(comparison, out))),
        _left_out(comparison),
        _list("How to read the numbers", [*explain_statistics(comparison), *comparison.notes]),
    ]
    return document(TITLE, body, style="comparison.css", script="comparison.js")


def _verdict(comparison: Comparison) -> str:
    headline, *others = format_comparison_verdict(comparison) or ["No quantized file to compare."]
    return f'<div class="band good"><p class="head">{escape_text(headline)}</p>{"".join(map(paragraph, others))}</div>'


def _configurations(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Titles and cells; of one data set and metric its name is not repeated."""
    rows = [
        dict(zip(CONFIGURATION_TITLES, format_configuration(each), strict=True)) for each in comparison.configurations
    ]
    single_task = len({each.task for each in comparison.configurations}) == 1
    titles = [title for title in CONFIGURATION_TITLES if not (single_task and title == "metric")]
    return titles, [[row[title] for title in titles] for row in rows]


def _left_out(comparison: Comparison) -> str:
    rows = [[str(each.folder), sentence(each.reason)] for each in comparison.refused]
    return _section("Directories left out", ("directory", "reason"), rows) if rows else ""


def _run_cells(comparison: Comparison, out: Path | None) -> Iterator[list[str | Html]]:
    """One row per file; a file that runs share, bit for bit, is shown once, with the number of the others."""
    groups: dict[object, list[Row]] = {}
    for row in comparison.rows:
        identity = (row.variant, row.measured.sha256, row.run.seed, row.measured.value)
        groups.setdefault(identity if row.measured.sha256 else id(row), []).append(row)
    for first, *others in groups.values():
        more = f"and {len(others)} more with this file" if others else ""
        settings = [
            name for name in comparison.distinguishing if all(row.get(name) == first.get(name) for row in others)
        ]
        cells = dict(zip(row_titles(comparison), format_row(first, comparison.distinguishing), strict=True))
        cells |= {name: "any" for name in comparison.distinguishing if name not in settings}
        yield [_link_report(first, out, more), *list(cells.values())[1:]]


def _link_report(row: Row, out: Path | None, more: str) -> str | Html:
    """The run's name, a link to its report where it has one."""
    parts = map(html.escape, re.split("(?<=[,/])", row.name))
    name = "<wbr>".join(f'<span class="whole">{part}</span>' for part in parts)
    report = row.run.folder / REPORT
    if out is not None and report.is_file():
        name = f'<a href="{quote(os.path.relpath(report, out))}">{name}</a>'
    return Html(name + (f'<br><span class="soft">{more}</span>' if more else ""))


def _section(title: str, titles: Sequence[str], rows: Sequence[Sequence[str | Html]], *, search: bool = True) -> str:
    if not rows:
        return f'<h2>{title}</h2><p class="soft">none</p>'
    columns = [column for column in range(len(titles)) if any(row[column] for row in rows)]
    head = "".join(f"<th>{html.escape(titles[column])}</th>" for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{escape_text(row[column])}</td>' for column in columns)}</tr>" for row in rows)
    box = '<input type="search" placeholder="filter rows">' if search and len(rows) > 4 else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    long = " long" if len(rows) > LONG else ""
    return f'<h2>{title} ({len(rows)})</h2>{box}<div class="scroll{long}">{table}</div>'


def _list(title: str, lines: Sequence[str]) -> str:
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"
