"""The cost of each layer as a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qat.reporting.colours import COST
from qat.reporting.figures import make_figure, plain, to_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 40
TITLE = "What each layer costs when it alone is quantized"


def draw_sensitivity(layers: Sequence[str], sqnr_db: Sequence[float]) -> bytes:
    """PNG with a bar per layer, the costliest on top and longest, with its number.

    Args:
        layers: names of the layers.
        sqnr_db: one number per layer: signal to quantization noise of the model's output where that layer alone is
            quantized, in dB.

    Returns:
        Bytes of a PNG file.
    """
    return to_png(_figure(layers, sqnr_db))


def rank_costs(layers: Sequence[str], sqnr_db: Sequence[float]) -> list[tuple[str, float, float]]:
    """The layers by cost, with the lengths of their bars.

    Noise is that of the output against the output itself, -SQNR. Layers that cost nothing (infinite SQNR) are left
    out; of more than 40 the costliest 40 are kept.

    >>> rank_costs(["a", "b", "input"], [40.0, 60.0, math.inf])
    [('a', 1.0, -40.0), ('b', 0.1, -60.0)]

    Args:
        layers: names of the layers.
        sqnr_db: SQNR in dB, one number per layer; infinite where a layer costs nothing.

    Returns:
        (layer, length of its bar 0-1, noise in dB), the costliest first.
    """
    noises = [(layer, -value) for layer, value in zip(layers, sqnr_db, strict=True) if math.isfinite(value)]
    noises = sorted(noises, key=lambda each: -each[1])[:MOST_ROWS]
    if not noises:
        return []
    most, least = noises[0][1], noises[-1][1]
    extent = (most - least) or 1.0
    return [
        (layer, round(0.1 + 0.9 * (noise - least) / extent if most > least else 1.0, 6), noise)
        for layer, noise in noises
    ]


def _figure(layers: Sequence[str], sqnr_db: Sequence[float]) -> Figure:
    rows = rank_costs(layers, sqnr_db)
    figure = make_figure(8, 1.3 + 0.24 * len(rows), 120, "constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(rows)), [length for _, length, _ in rows], color=COST)
    axes.bar_label(bars, [f" {noise:.1f} dB" for *_, noise in rows], fontsize=7)
    axes.set_yticks(range(len(rows)), [plain(layer) for layer, *_ in rows], fontsize=7)
    axes.set_xlim(0, 1.15)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.set_title(TITLE, fontsize=11)
    axes.set_xlabel("output noise against the output (-SQNR): a longer bar costs more", fontsize=9)
    return figure
