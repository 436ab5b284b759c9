"""The cost of each layer as a picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

MOST_ROWS = 40


def sensitivity_png(layers: Sequence[str], sqnr_db: Sequence[float]) -> bytes:
    """A bar a layer, the costliest on top: output SQNR in dB when that layer alone is quantized.

    Layers that cost nothing (infinite SQNR) have no bar; of more than 40 the costliest 40 are drawn.
    """
    from matplotlib.figure import Figure

    rows = [(layer, value) for layer, value in zip(layers, sqnr_db, strict=True) if math.isfinite(value)][:MOST_ROWS]
    figure = Figure(figsize=(8, 1.2 + 0.22 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.barh([layer for layer, _ in rows], [value for _, value in rows], color="#3b6ea5")
    axes.invert_yaxis()
    axes.set_xlabel("output SQNR with this layer alone quantized, dB (lower costs more)")
    axes.tick_params(axis="y", labelsize=7)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
