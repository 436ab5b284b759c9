"""Pictures of one run, for its folder and for TensorBoard: what its files are worth, and what its layers lose."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from qat.comparison.pareto import front
from qat.reporting.canvas import BLACK, GREY, Canvas
from qat.reporting.chart import shortened
from qat.reporting.colours import colour_of
from qat.reporting.panel import Panel, legend
from qat.results import Variant

MOST_LAYERS = 60
FLOAT = "float"
_SMALL = (432, 342)  # pixels: about what TensorBoard gives a picture


def drop_png(variants: Mapping[str, Variant]) -> bytes:
    """A bar a quantized file: what it lost against float on test. `variants` holds `float`."""
    canvas = Canvas(*_SMALL)
    reference, names = variants[FLOAT].metric, [name for name in variants if name != FLOAT]
    factor = 100 if reference.name == "accuracy" else 1
    drops = [(reference.value - variants[name].metric.value) * factor for name in names]
    low, high = min([0.0, *drops]), max([0.0, *drops])
    air = 0.2 * (high - low) or 0.5
    panel = Panel(canvas, 64, 42, 418, 306, (-0.6, len(names) - 0.4), (low - air, high + air))
    panel.y_axis()
    panel.x_axis(list(enumerate(names)), size=12)
    for place, (name, drop) in enumerate(zip(names, drops, strict=True)):
        canvas.box(*panel.at(place - 0.25, 0), *panel.at(place + 0.25, drop), colour_of(name))
        x, y = panel.at(place, drop)
        words = f"{drop:+.{2 if factor == 100 else 4}f}"
        canvas.text(x, y + (-3 if drop >= 0 else 4), words, 12, "md" if drop >= 0 else "ma")
    canvas.line([panel.at(panel.x[0], 0), panel.at(panel.x[1], 0)], BLACK)
    panel.frame()
    panel.title(f"drop on test{', points' if factor == 100 else ''} (lower is better)")
    return canvas.png()


def against_png(variants: Mapping[str, Variant], cost: Mapping[str, float], label: str) -> bytes:
    """Metric on test against `cost` (variant to size or latency, named by `label`), with the Pareto front."""
    canvas = Canvas(*_SMALL)
    metric, names = next(iter(variants.values())).metric, list(cost)
    factor = 100 if metric.name == "accuracy" else 1
    points = [(cost[name], variants[name].metric.value * factor) for name in names]
    values = [y for _, y in points]
    air = 0.25 * (max(values) - min(values)) or 0.005 * factor
    ends = (0.0, max(x for x, _ in points) * 1.15 or 1.0), (min(values) - air, max(values) + air)
    dots = {name: ("dot", colour_of(name)) for name in names}
    top = legend(canvas, 36, 64, {"Pareto front": ("dashes", GREY)} | dots)
    panel = Panel(canvas, 64, top, 418, 292, *ends)
    panel.x_axis(label=label, grid=True)
    panel.y_axis(grid=True)
    signed = [(x, y if metric.higher_is_better else -y) for x, y in points]
    canvas.dashes([panel.at(*each) for each in _steps([points[place] for place in front(signed)])], GREY)
    for name, point in zip(names, points, strict=True):
        canvas.dot(*panel.at(*point), colour_of(name))
    panel.frame()
    canvas.text(241, 16, f"{metric.name} on test{', %' if factor == 100 else ''}", 13)
    return canvas.png()


def _steps(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Level first, then up or down, from each corner to the next."""
    return [corners[0], *(each for (_, y), (x, to) in pairwise(corners) for each in ((x, y), (x, to)))]


def sqnr_png(sides: Mapping[str, Mapping[str, float | None]]) -> bytes:
    """A bar a layer in dB, a panel a side; the layers in the model's order, the first 60 of them.

    A layer that loses nothing (None, or infinite) has a pale bar to the end, and says so.
    """
    layers = list(dict.fromkeys(layer for rows in sides.values() for layer in rows))[:MOST_LAYERS]
    canvas = Canvas(810, 100 + 18 * len(layers))
    width = (796 - 194) // len(sides)
    for place, (title, rows) in enumerate(sides.items()):
        finite = [value for value in rows.values() if value is not None and math.isfinite(value)]
        ends = min([*finite, 0.0]), max([*finite, 40.0]) * 1.16  # with room for a number
        left = 194 + width * place
        panel = Panel(canvas, left, 36, left + width - 18, canvas.height - 54, ends, (len(layers) - 0.4, -0.6))
        _bars(panel, layers, rows)
        panel.x_axis(label="SQNR, dB (longer is better)")
        panel.frame()
        panel.title(title)
    for row, layer in enumerate(layers):
        canvas.text(186, panel.at(0, row)[1], shortened(layer, 32), 10, "rm")
    return canvas.png()


def _bars(panel: Panel, layers: Sequence[str], rows: Mapping[str, float | None]) -> None:
    for row, layer in enumerate(layers):
        if layer not in rows:
            continue
        value = math.inf if rows[layer] is None else rows[layer]
        equal = value == math.inf
        end = 0.87 * panel.x[1] if equal else max(panel.x[0], value)
        panel.canvas.box(*panel.at(0, row - 0.36), *panel.at(end, row + 0.36), "#d6e6f2" if equal else "#0072b2")
        x, y = panel.at(max(end, 0.0), row)
        panel.canvas.text(x + 4, y, "equal" if equal else f"{value:.1f}", 9, "lm")
