"""A benchmark as figures: the latency of every file, and the operators that it is spent in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qat.reporting.benchmark_table import compute_operator_shares
from qat.reporting.colours import SERIES, VARIANT_COLOURS
from qat.reporting.figures import make_figure, plain, to_png

Row = Mapping[str, Any]
# so many times the highest median is the height of the axis: a busy machine's 95th percentile would flatten every bar
MOST_MEDIANS = 2.5


def draw_latency(rows: Sequence[Row]) -> bytes:
    """PNG with a group of bars per setting, a bar per file: the median in ms, a whisker up to the 95th percentile."""
    figure = make_figure(min(0.9 * len(rows) + 3, 16), 4.5, 120, "constrained")
    axes = figure.subplots()
    settings = list(dict.fromkeys(_setting(row) for row in rows))
    names = list(dict.fromkeys(row["name"] for row in rows))
    width = 0.8 / len(names)
    for index, name in enumerate(names):
        own_rows = [row for row in rows if row["name"] == name]
        positions = [settings.index(_setting(row)) + (index - (len(names) - 1) / 2) * width for row in own_rows]
        medians = np.array([row["median_ms"] for row in own_rows])
        above = np.array([row["p95_ms"] for row in own_rows]) - medians
        errors = np.array([np.zeros(len(own_rows)), np.maximum(above, 0)])
        label = f"{name} ({own_rows[0]['kind']})"
        colour = _colour(name, index)
        axes.bar(positions, medians, width, yerr=errors, capsize=3, label=plain(label), color=colour, ecolor="#999999")
        for x, median in zip(positions, medians, strict=True):
            axes.text(x, median / 2, f"{median:.3f}", ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(settings)), settings)
    axes.set_ylim(0, MOST_MEDIANS * max(row["median_ms"] for row in rows))
    axes.set_ylabel("ms per call: median, whisker to 95 % (cut off on a busy machine)")
    axes.legend(fontsize=7)
    return to_png(figure)


def draw_profile(profiles: Mapping[str, Sequence[Row]]) -> bytes:
    """PNG with a stacked bar per file: milliseconds by kind of operator, each operator timed alone."""
    figure = make_figure(9.0, min(1.5 + 0.6 * len(profiles), 12), 120, "constrained")
    axes = figure.subplots()
    kinds = list(dict.fromkeys(name for ops in profiles.values() for name, _, _ in compute_operator_shares(ops)))
    names = list(profiles)
    left = np.zeros(len(names))
    for index, kind in enumerate(kinds):
        milliseconds = [sum(op["median_ms"] or 0.0 for op in profiles[name] if op["op"] == kind) for name in names]
        axes.barh(
            range(len(names)), milliseconds, left=left, label=kind, color=SERIES[index % len(SERIES)], edgecolor="white"
        )
        left += milliseconds
    axes.invert_yaxis()
    axes.set_xlabel("ms per sample, operators timed one by one")
    axes.set_yticks(range(len(names)), list(map(plain, names)), fontsize=7)
    axes.legend(fontsize=7)
    return to_png(figure)


def _colour(name: str, index: int) -> str:
    """The colour of the variant whose folder the file is in, else one by its index."""
    return VARIANT_COLOURS.get(name.partition("/")[0]) or SERIES[index % len(SERIES)]


def _setting(row: Row) -> str:
    return f"{row['threads']} thr, batch {row['batch']}\nXNNPACK {'on' if row['delegate'] else 'off'}"
