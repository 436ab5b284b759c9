"""What a model's input holds: real numbers in samples, against what the codes of its files stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from qat.reporting.canvas import Canvas
from qat.reporting.colours import colour_of
from qat.reporting.panel import Panel, legend

_LINEAR = 1e-4  # a share below it is drawn in proportion, above it by its logarithm


def calibration_png(samples: Mapping[str, NDArray], ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """Histograms of model inputs (shares of values), with the ends of what each file's input can hold.

    Args:
        samples: calibration, val, …: real model inputs of any shape.
        ranges: file to the smallest and largest real number that its input's codes stand for.
    """
    low, high = _ends(samples, ranges)
    edges, air = np.linspace(low, high, 61), 0.05 * (high - low)
    shares = {name: np.histogram(values, edges)[0] / max(values.size, 1) for name, values in samples.items()}
    most = _height(max(map(np.max, shares.values()))) * 1.03
    seen = dict(zip(samples, ("#009e73", "#cc79a7"), strict=False))
    held = {name: ("dashes" if place else "line", colour_of(name)) for place, name in enumerate(ranges)}
    entries = {f"{name}, {len(samples[name])} samples": ("line", colour) for name, colour in seen.items()}
    entries |= {"{} holds [{:.4g}, {:.4g}]".format(name, *ranges[name]): held[name] for name in held}
    canvas = Canvas(576, 380)
    panel = Panel(canvas, 75, legend(canvas, 38, 75, entries), 562, 326, (low - air, high + air), (0.0, most))
    for name, (mark, colour) in held.items():
        for end in ranges[name]:
            draw = canvas.dashes if mark == "dashes" else canvas.line
            draw([panel.at(end, 0.0), panel.at(end, most)], colour, 2)
    for name, colour in seen.items():
        canvas.line(_stairs(panel, edges, shares[name]), colour, 2)
    _name_axes(panel)
    return canvas.png()


def _ends(samples: Mapping[str, NDArray], ranges: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    low = min([float(values.min()) for values in samples.values()] + [low for low, _ in ranges.values()])
    high = max([float(values.max()) for values in samples.values()] + [high for _, high in ranges.values()])
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _name_axes(panel: Panel) -> None:
    shares = [share for share in (0, 1e-4, 1e-3, 1e-2, 1e-1, 1) if _height(share) <= panel.y[1]]
    panel.y_axis([(_height(share), f"{share:g}") for share in shares])
    panel.x_axis(label="model input, real numbers")
    panel.canvas.upward(16, (panel.top + panel.bottom) / 2, "share of values")
    panel.canvas.text(288, 16, "what calibration saw, against what the files' inputs hold", 13)
    panel.frame()


def _height(share: float) -> float:
    """Of a share of all values on its axis: in proportion near 0, then a unit a power of ten."""
    return share / _LINEAR if share < _LINEAR else 1 + math.log10(share / _LINEAR)


def _stairs(panel: Panel, edges: NDArray, shares: NDArray) -> list[tuple[float, float]]:
    heights = [_height(share) for share in shares]
    return [panel.at(edge, height) for ends, height in zip(pairwise(edges), heights, strict=True) for edge in ends]
