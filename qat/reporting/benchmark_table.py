"""A benchmark as a table, and in words: is int8 faster than float here, or slower, by the numbers?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from qat.reporting.table import format_table
from qat.wrapping import wrap

Row = Mapping[str, Any]
TITLES = ("file", "kind", "threads", "batch", "XNNPACK", "median ms", "p95 ms", "size KiB", "peak KiB", "MMAC", "ops")
SETTINGS = ("XNNPACK", "batch", "threads")
OPTIONAL_COLUMNS = ("peak KiB", "ops", "MMAC", "p95 ms", "kind")
MOST_MACS_RATIO = 1.2  # files whose multiply-accumulates differ by a larger factor are not of one model
LEAST_SHARE = 0.85  # share of the rounds that must agree: by luck alone 17 of 20 do once in 400 times
MOST_OPS = 5


def format_benchmark(rows: Sequence[Row], profiles: Mapping[str, Sequence[Row]], columns: int | None = None) -> str:
    """The table, the comparisons and the costliest operators as text.

    Args:
        rows: one row per file and setting, as `benchmark.json` holds them: times in ms, sizes in bytes.
        profiles: file's name to a row per operator, each timed alone, in ms.
        columns: width of the terminal in characters; None for a pipe, which has no width.

    Returns:
        Lines of at most `columns` characters.
    """
    titles, cells = _table(rows)
    lines = [format_table(titles, cells, _optional_columns(titles, cells), columns)]
    lines += [wrap(sentence, columns) for sentence in compare_with_float(rows)]
    for name, ops in profiles.items():
        shares = ", ".join(f"{op} x{count} {share:.0%}" for op, count, share in compute_operator_shares(ops)[:MOST_OPS])
        if shares:
            lines.append(wrap(f"operators of {name}, each timed alone: {shares}", columns))
    return "\n".join(lines)


def _optional_columns(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Columns in the order in which a narrow terminal leaves them out: first settings that all rows share."""
    shared = [title for title in SETTINGS if len({row[titles.index(title)] for row in cells}) == 1]
    return [*shared, *OPTIONAL_COLUMNS]


def format_benchmark_markdown(rows: Sequence[Row]) -> str:
    titles, cells = _table(rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in [titles, ["---"] * len(titles), *cells])


def _table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    with_accuracy = any("accuracy" in row for row in rows)
    titles = [*TITLES, "accuracy"] if with_accuracy else list(TITLES)
    return titles, [_cells(row, with_accuracy) for row in rows]


def _cells(row: Row, with_accuracy: bool) -> list[str]:
    cells = [
        row["name"],
        row["kind"],
        str(row["threads"]),
        str(row["batch"]),
        "on" if row["delegate"] else "off",
        f"{row['median_ms']:.3f}",
        f"{row['p95_ms']:.3f}",
        f"{row['size_bytes'] / 1024:.1f}",
        f"{row['peak_bytes'] / 1024:.0f}",
        f"{row['macs'] / 1e6:.2f}",
        str(row["ops"]),
    ]
    if not with_accuracy:
        return cells
    return [*cells, f"{row['accuracy'] * 100:.2f} %" if "accuracy" in row else ""]


def compare_with_float(rows: Sequence[Row]) -> list[str]:
    """One sentence for each integer file and setting, against the float file of the same model."""
    return list(_comparisons(rows))


def _comparisons(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["kind"] not in ("int8", "int16x8", "int4", "dynamic_range"):
            continue
        reference = next((other for other in rows if _is_float_reference(other, row)), None)
        if reference is not None:
            yield _sentence(row, reference)


def _is_float_reference(other: Row, row: Row) -> bool:
    same_setting = all(other[key] == row[key] for key in ("threads", "batch", "delegate"))
    macs = max(other["macs"], row["macs"], 1), max(min(other["macs"], row["macs"]), 1)
    return same_setting and other["kind"] == "float32" and macs[0] <= MOST_MACS_RATIO * macs[1]


def _sentence(row: Row, reference: Row) -> str:
    """The ratio of the medians, and in how many rounds, which measure both files, it lay on the same side of 1."""
    ratios = np.array(row["rounds_median_ms"]) / np.array(reference["rounds_median_ms"])
    ratio = row["median_ms"] / reference["median_ms"]
    agreeing = int(np.sum((ratios < 1) if ratio < 1 else (ratios > 1)))
    word = "faster" if ratio < 1 else "SLOWER"
    counted = f"in {agreeing} of {len(ratios)} rounds"
    if agreeing < LEAST_SHARE * len(ratios):
        word, counted = "no difference beyond the noise of this run", f"{word} {counted}"
    setting = f"{row['threads']} thread{'s' * (row['threads'] > 1)}, batch {row['batch']}"
    return (
        f"{row['kind']} ({row['name']}) against float32 ({reference['name']}), {setting}, "
        f"XNNPACK {'on' if row['delegate'] else 'off'}: {ratio:.2f} times the time, {word} ({counted})"
    )


def compute_operator_shares(ops: Sequence[Row]) -> list[tuple[str, int, float]]:
    """(kind of operator, count, share 0-1 of all time), costliest first; operators that were not timed are left out.

    >>> timed = [{"op": "ADD", "median_ms": 1.0}, {"op": "CONV_2D", "median_ms": 3.0}, {"op": "IF", "median_ms": None}]
    >>> compute_operator_shares(timed)
    [('CONV_2D', 1, 0.75), ('ADD', 1, 0.25)]
    """
    timed = [op for op in ops if op["median_ms"] is not None]
    total = sum(op["median_ms"] for op in timed) or 1.0
    counts = Counter(op["op"] for op in timed)
    milliseconds = {name: sum(op["median_ms"] for op in timed if op["op"] == name) for name in counts}
    return [
        (name, counts[name], milliseconds[name] / total)
        for name in sorted(counts, key=lambda name: -milliseconds[name])
    ]
