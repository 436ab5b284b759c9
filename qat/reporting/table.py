"""The table at the end of a run: what each deployed file is worth, on the terminal and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from qat.reporting import terminal
from qat.reporting.numbers import gain_text, interval_text, size_text, value_text
from qat.results import Metric, Variant

FLOAT = "float"
GIVEN_UP = ("fake-quant", "95 %", "agreement", "parity", "integer-only")  # in a narrow terminal, the first one first
_NUMBER = re.compile(r"[+-]?\d.*")
_GAP = 2


def rows(variants: Mapping[str, Variant]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells; `vs float` in points of accuracy (else the metric's unit), better is positive."""
    reference = variants[FLOAT].metric
    titles = ["variant", reference.name, "95 %", "vs float", "fake-quant", "size"]
    titles += ["integer-only", "agreement", "parity"]
    return titles, [_cells(name, variant, reference) for name, variant in variants.items()]


def _cells(name: str, variant: Variant, reference: Metric) -> list[str]:
    return [
        name,
        value_text(variant.metric),
        interval_text(variant.accuracy_interval),
        "" if name == FLOAT else gain_text(variant.metric, reference),
        "" if variant.fake_quant_metric is None else value_text(variant.metric, variant.fake_quant_metric),
        size_text(variant.size_bytes),
        "yes" if variant.integer_only else "no",
        "" if variant.agreement is None else f"{variant.agreement * 100:.2f} %",
        "" if variant.parity is None else ("passed" if variant.parity.passed else "BROKEN"),
    ]


def markdown_table(variants: Mapping[str, Variant]) -> str:
    titles, cells = without_empty_columns(*rows(variants))
    lines = [titles, ["---"] * len(titles), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def print_table(variants: Mapping[str, Variant]) -> None:
    print(table_text(*rows(variants), GIVEN_UP, terminal.width()), flush=True)


def table_text(
    titles: Sequence[str], cells: Sequence[Sequence[str]], given_up: Sequence[str], columns: int | None
) -> str:
    """A table of at most `columns` (None: any), in which no cell is cut.

    Where it is too wide, columns are left out, those of `given_up` one after the other, and named below it. Where that
    is not enough, each row is a list of its cells.
    """
    titles, cells = without_empty_columns(titles, cells)
    left_out: list[str] = []
    waiting = [title for title in given_up if title in titles]
    while columns is not None and _wide(titles, cells) > columns:
        if not waiting:
            return "\n\n".join(_listed(titles, row, columns) for row in cells)
        left_out.append(waiting.pop(0))
        kept = [place for place, title in enumerate(titles) if title != left_out[-1]]
        titles, cells = [titles[place] for place in kept], [[row[place] for place in kept] for row in cells]
    shown = aligned(titles, cells)
    words = f"Not shown at {columns} columns: {', '.join(left_out)}."
    return f"{shown}\n{terminal.wrap(words, columns)}" if left_out else shown


def _wide(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    return sum(_widths(titles, cells)) + _GAP * (len(titles) - 1)


def _widths(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(line[column]) for line in [titles, *cells]) for column in range(len(titles))]


def _listed(titles: Sequence[str], row: Sequence[str], columns: int) -> str:
    lines = [f"{title}: {cell}" for title, cell in zip(titles, row, strict=True) if cell]
    return "\n".join(terminal.wrap(line, columns) for line in lines)


def aligned(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Columns by spaces, numbers on the right, however wide: a log has no width to wrap at."""
    widths = _widths(titles, cells)
    right = [_of_numbers([row[column] for row in cells]) for column in range(len(titles))]
    lines = [titles, ["-" * width for width in widths], *cells]
    return "\n".join((" " * _GAP).join(map(_placed, line, widths, right)) for line in lines)


def _of_numbers(column: Sequence[str]) -> bool:
    return all(not cell or _NUMBER.fullmatch(cell) for cell in column)


def _placed(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def without_empty_columns(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    kept = [column for column in range(len(titles)) if any(line[column] for line in cells)]
    return [titles[column] for column in kept], [[line[column] for column in kept] for line in cells]
