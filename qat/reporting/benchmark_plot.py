"""A benchmark as pictures: latency of every file, and where each spends it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qat.reporting.benchmark_table import operator_shares
from qat.reporting.colours import SERIES, VARIANT_COLOURS

Row = Mapping[str, Any]
MOST_MEDIANS = 2.5  # height of the picture: a busy machine's 95th percentile would flatten every bar


def latency_png(rows: Sequence[Row]) -> bytes:
    """A group of bars a setting, a bar a file: the median, and a whisker up to the 95th percentile."""
    figure, axes = _figure(0.9 * len(rows) + 3)
    settings = list(dict.fromkeys(_setting(row) for row in rows))
    names = list(dict.fromkeys(row["name"] for row in rows))
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        own = [row for row in rows if row["name"] == name]
        at = [settings.index(_setting(row)) + (place - (len(names) - 1) / 2) * width for row in own]
        medians = np.array([row["median_ms"] for row in own])
        above = np.array([row["p95_ms"] for row in own]) - medians
        errors = np.array([np.zeros(len(own)), np.maximum(above, 0)])
        label = f"{name} ({own[0]['kind']})"
        colour = _colour(name, place)
        axes.bar(at, medians, width, yerr=errors, capsize=3, label=label, color=colour, ecolor="#999999")
        for x, median in zip(at, medians, strict=True):
            axes.text(x, median / 2, f"{median:.3f}", ha="center", va="center", fontsize=7)
    axes.set_xticks(range(len(settings)), settings)
    axes.set_ylim(0, MOST_MEDIANS * max(row["median_ms"] for row in rows))
    axes.set_ylabel("ms a call: median, whisker to 95 % (cut off on a busy machine)")
    axes.legend(fontsize=7)
    return _png(figure)


def profile_png(profiles: Mapping[str, Sequence[Row]]) -> bytes:
    """One stacked bar a file: milliseconds by kind of operator, each operator timed alone."""
    figure, axes = _figure(9.0, 1.5 + 0.6 * len(profiles))
    kinds = list(dict.fromkeys(name for ops in profiles.values() for name, _, _ in operator_shares(ops)))
    names = list(profiles)
    left = np.zeros(len(names))
    for place, kind in enumerate(kinds):
        spent = [sum(op["median_ms"] or 0.0 for op in profiles[name] if op["op"] == kind) for name in names]
        axes.barh(names, spent, left=left, label=kind, color=SERIES[place % len(SERIES)], edgecolor="white")
        left += spent
    axes.invert_yaxis()
    axes.set_xlabel("ms a sample, operators timed one by one")
    axes.tick_params(axis="y", labelsize=7)
    axes.legend(fontsize=7)
    return _png(figure)


def _colour(name: str, place: int) -> str:
    """That of the variant whose folder the file stands in, where it is one of ours."""
    return VARIANT_COLOURS.get(name.partition("/")[0]) or SERIES[place % len(SERIES)]


def _setting(row: Row) -> str:
    return f"{row['threads']} thr, batch {row['batch']}\nXNNPACK {'on' if row['delegate'] else 'off'}"


def _figure(width: float, height: float = 4.5) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(width, 16), min(height, 12)), layout="constrained")
    return figure, figure.subplots()


def _png(figure: Any) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
