"""The table at the end of a run: each deployed file's metrics, on the terminal and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from qat.reporting import terminal
from qat.reporting.numbers import format_gain, format_interval, format_size, format_value
from qat.results import Metric, Variant
from qat.variants import FLOAT
from qat.wrapping import count_columns, pad, wrap

# in a narrow terminal, the first one first
OPTIONAL_COLUMNS = ("fake-quant", "95 %", "agreement", "parity", "integer-only")
_NUMBER = re.compile(r"[+-]?\d.*")
_GAP = 2


def build_rows(variants: Mapping[str, Variant]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells; `vs float` in points of accuracy (else the metric's unit), better is positive."""
    reference = variants[FLOAT].metric
    titles = ["variant", reference.name, "95 %", "vs float", "fake-quant", "size"]
    titles += ["integer-only", "agreement", "parity"]
    return titles, [_cells(name, variant, reference) for name, variant in variants.items()]


def _cells(name: str, variant: Variant, reference: Metric) -> list[str]:
    return [
        name,
        format_value(variant.metric),
        format_interval(variant.accuracy_interval),
        "" if name == FLOAT else format_gain(variant.metric, reference),
        "" if variant.fake_quant_metric is None else format_value(variant.metric, variant.fake_quant_metric),
        format_size(variant.size_bytes),
        "yes" if variant.integer_only else "no",
        "" if variant.agreement is None else f"{variant.agreement * 100:.2f} %",
        "" if variant.parity is None else ("passed" if variant.parity.passed else "BROKEN"),
    ]


def variants_markdown(variants: Mapping[str, Variant]) -> str:
    titles, cells = drop_empty_columns(*build_rows(variants))
    lines = [titles, ["---"] * len(titles), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def print_table(variants: Mapping[str, Variant]) -> None:
    print(format_table(*build_rows(variants), OPTIONAL_COLUMNS, terminal.width()), flush=True)


def format_table(
    titles: Sequence[str], cells: Sequence[Sequence[str]], optional: Sequence[str], columns: int | None
) -> str:
    """A table of at most `columns` characters in width, in which no cell is cut.

    Where it is too wide, optional columns are left out one after the other, and named below it. Where that is not
    enough, each row becomes a list of its cells.

    Args:
        titles: titles of the columns.
        cells: one list of texts per row, as many as there are titles.
        optional: titles of columns that may be left out, the first one first.
        columns: width of the terminal in characters; None for a pipe, which has no width.

    Returns:
        Lines of at most `columns` characters, divided by line breaks.
    """
    titles, cells = drop_empty_columns(titles, cells)
    left_out: list[str] = []
    droppable = [title for title in optional if title in titles]
    while columns is not None and sum(_widths(titles, cells)) + _GAP * (len(titles) - 1) > columns:
        if not droppable:
            return "\n\n".join(_format_as_list(titles, row, columns) for row in cells)
        left_out.append(droppable.pop(0))
        columns_left = [index for index, title in enumerate(titles) if title != left_out[-1]]
        titles, cells = (
            [titles[index] for index in columns_left],
            [[row[index] for index in columns_left] for row in cells],
        )
    text = align_columns(titles, cells)
    note = f"Not shown at {columns} columns: {', '.join(left_out)}."
    return f"{text}\n{wrap(note, columns)}" if left_out else text


def _widths(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(count_columns(line[column]) for line in [titles, *cells]) for column in range(len(titles))]


def _format_as_list(titles: Sequence[str], row: Sequence[str], columns: int) -> str:
    lines = [f"{title}: {cell}" for title, cell in zip(titles, row, strict=True) if cell]
    return "\n".join(wrap(line, columns) for line in lines)


def align_columns(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Columns aligned by spaces, numbers on the right, however wide: a log has no width to wrap at.

    Args:
        titles: titles of the columns.
        cells: one list of texts per row, as many as there are titles.

    Returns:
        One line of titles, one of dashes, one per row, divided by line breaks.
    """
    widths = _widths(titles, cells)
    numeric = [_is_numeric([row[column] for row in cells]) for column in range(len(titles))]
    lines = [titles, ["-" * width for width in widths], *cells]
    return "\n".join(
        (" " * _GAP).join(pad(*cell, to_the_right=right) for *cell, right in zip(line, widths, numeric, strict=True))
        for line in lines
    )


def _is_numeric(column: Sequence[str]) -> bool:
    return all(not cell or _NUMBER.fullmatch(cell) for cell in column)


def drop_empty_columns(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Leave out the columns that are empty in every row.

    Args:
        titles: titles of the columns.
        cells: one list of texts per row, as many as there are titles.

    Returns:
        Titles and cells of the columns that are left.
    """
    columns = [column for column in range(len(titles)) if any(line[column] for line in cells)]
    return [titles[column] for column in columns], [[line[column] for column in columns] for line in cells]


def format_markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table without the columns that are empty throughout; "none" where there is no row.

    Args:
        titles: titles of the columns.
        rows: one list of texts per row, as many as there are titles; pipes in them are escaped.

    Yields:
        The lines of the table, without line breaks.
    """
    if not rows:
        yield "none"
        return
    columns = [column for column in range(len(titles)) if any(row[column] for row in rows)]
    yield f"| {' | '.join(escape_cell(titles[column]) for column in columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(escape_cell(row[column]) for column in columns)} |"


def escape_cell(text: str) -> str:
    """Text that stays one cell and no markup.

    >>> escape_cell("a|b <i>")
    'a\\\\|b &lt;i&gt;'
    """
    line = " ".join(text.split())
    return (
        line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\\", "\\\\").replace("|", "\\|")
    )
