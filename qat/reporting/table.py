"""The table at the end of a run: what each deployed file is worth, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from qat.results import Variant

FLOAT = "float"


def rows(variants: Mapping[str, Variant]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells; the metric and its drop in points (0-100) against the float model."""
    reference = variants[FLOAT].metric
    scale, unit = (100, " %") if reference.name == "accuracy" else (1, "")
    titles = ["variant", reference.name, "95 %", "drop", "fake-quant", "size", "integer-only", "agreement", "parity"]
    return titles, [_cells(name, variant, reference.value, scale, unit) for name, variant in variants.items()]


def _cells(name: str, variant: Variant, reference: float, scale: int, unit: str) -> list[str]:
    digits = 2 if scale == 100 else 4
    drop = "" if name == FLOAT else f"{(reference - variant.metric.value) * scale:+.{digits}f}"
    interval = variant.accuracy_interval
    return [
        name,
        f"{variant.metric.value * scale:.{digits}f}{unit}",
        f"{interval[0] * 100:.1f}-{interval[1] * 100:.1f}" if interval else "",
        drop,
        "" if variant.fake_quant_metric is None else f"{variant.fake_quant_metric * scale:.{digits}f}{unit}",
        f"{variant.size_bytes / 1024:.1f} KiB",
        "yes" if variant.integer_only else "no",
        "" if variant.agreement is None else f"{variant.agreement * 100:.2f} %",
        "" if variant.parity is None else ("passed" if variant.parity.passed else "BROKEN"),
    ]


def markdown_table(variants: Mapping[str, Variant]) -> str:
    titles, cells = _without_empty_columns(*rows(variants))
    lines = [titles, ["---"] * len(titles), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def print_table(variants: Mapping[str, Variant]) -> None:
    from rich.console import Console
    from rich.table import Table

    titles, cells = _without_empty_columns(*rows(variants))
    table = Table()
    for title in titles:
        table.add_column(title, justify="left" if title == "variant" else "right", no_wrap=True)
    for line in cells:
        table.add_row(*line)
    console = Console()
    if console.is_terminal:
        console.print(table)
    else:
        print(aligned(titles, cells), flush=True)


def aligned(titles: list[str], cells: list[list[str]]) -> str:
    """Columns by spaces, however wide: a log has no width to wrap at."""
    widths = [max(len(line[column]) for line in [titles, *cells]) for column in range(len(titles))]
    lines = [titles, ["-" * width for width in widths], *cells]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _without_empty_columns(titles: list[str], cells: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    kept = [column for column in range(len(titles)) if any(line[column] for line in cells)]
    return [titles[column] for column in kept], [[line[column] for column in kept] for line in cells]
