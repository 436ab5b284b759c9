"""Pictures of one run, for its folder and for TensorBoard: PNG by matplotlib, drawn quickly rather than laid out."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.comparison.pareto import front
from qat.reporting.colours import EQUAL, SERIES, VARIANT_COLOURS, colour_of
from qat.reporting.numbers import gain, gain_text, shown_in_percent
from qat.results import Variant

MOST_NAMED_CLASSES = 20
MOST_LAYERS = 60
FLOAT = "float"
_SMALL = (4.8, 3.8)  # inches: about what TensorBoard gives a picture


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=90)
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def gain_png(variants: Mapping[str, Variant]) -> bytes:
    """A bar a quantized file: how much better than float it is on test. `variants` holds `float`."""
    figure = _figure(*_SMALL)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.14, right=0.97, bottom=0.12, top=0.88)
    reference, names = variants[FLOAT].metric, [name for name in variants if name != FLOAT]
    factor = 100 if shown_in_percent(reference.name) else 1
    gains = [gain(variants[name].metric, reference) * factor for name in names]
    bars = axes.bar(names, gains, color=[colour_of(name) for name in names], width=0.5)
    axes.bar_label(bars, [gain_text(variants[name].metric, reference) for name in names])
    axes.axhline(0, color="black", linewidth=0.8)
    low, high = min([0.0, *gains]), max([0.0, *gains])
    air = 0.2 * (high - low) or 0.5
    axes.set_ylim(low - air, high + air)
    axes.set_title(f"against float on test{', points' if factor == 100 else ''} (up is better)", fontsize=11)
    return _png(figure)


def against_png(variants: Mapping[str, Variant], cost: Mapping[str, float], label: str) -> bytes:
    """Metric on test against `cost` (variant to size or latency, named by `label`), with the Pareto front."""
    figure = _figure(*_SMALL)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.16, right=0.97, bottom=0.15, top=0.88)
    metric, names = next(iter(variants.values())).metric, list(cost)
    factor = 100 if metric.name == "accuracy" else 1
    points = [(cost[name], variants[name].metric.value * factor) for name in names]
    signed = [(x, y if metric.higher_is_better else -y) for x, y in points]
    xs, ys = zip(*[points[place] for place in front(signed)], strict=True)
    axes.step(xs, ys, where="post", color="#888888", linestyle="--", linewidth=1, zorder=1, label="Pareto front")
    for name, (x, y) in zip(names, points, strict=True):
        axes.scatter([x], [y], color=colour_of(name), s=60, zorder=2, label=name)
    values = [y for _, y in points]
    air = 0.25 * (max(values) - min(values)) or 0.005 * factor
    axes.set_ylim(min(values) - air, max(values) + air)
    axes.set_xlim(0, max(x for x, _ in points) * 1.15)
    axes.set_xlabel(label)
    axes.set_title(f"{metric.name} on test{', %' if factor == 100 else ''}", fontsize=11)
    axes.legend(fontsize=9)
    axes.grid(alpha=0.3)
    return _png(figure)


def confusion(labels: NDArray, predicted: NDArray, classes: int) -> NDArray[np.int64]:
    """Counts [classes, classes], more where a model answers more: rows are the label, columns what was predicted.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    classes = max(classes, int(labels.max(initial=0)) + 1, int(predicted.max(initial=0)) + 1)
    flat = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def confusion_png(matrices: Mapping[str, NDArray[np.int64]], class_names: Sequence[str]) -> bytes:
    """Confusion matrices one below the other, mistakes coloured; numbers in them for up to 20 classes.

    Side by side they would be half as large where TensorBoard shows them.
    """
    figure = _figure(4.4, 4.2 * len(matrices))
    axes = np.atleast_1d(figure.subplots(len(matrices), 1))
    figure.subplots_adjust(left=0.16, right=0.97, bottom=0.12 / len(matrices), top=1 - 0.08 / len(matrices), hspace=0.3)
    worst = max((np.where(np.eye(len(m), dtype=bool), 0, m).max() for m in matrices.values()), default=0)
    for each, (name, counts) in zip(axes, matrices.items(), strict=True):
        mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
        each.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(int(worst), 1))
        right = int(np.trace(counts))
        each.set_title(f"{name}: {right} of {int(counts.sum())} right", fontsize=10)
        each.set_xlabel("predicted")
        each.set_ylabel("label")
        if len(counts) <= MOST_NAMED_CLASSES:
            _name_classes(each, counts, class_names, int(worst))
    return _png(figure)


def _name_classes(axes: Any, counts: NDArray, class_names: Sequence[str], worst: int) -> None:
    names = [class_names[n] if n < len(class_names) else str(n) for n in range(len(counts))]
    short = [name if len(name) <= 9 else f"{name[:8]}…" for name in names]
    places = range(len(short))
    turned = {"rotation": 90} if max(map(len, short), default=0) > 3 else {}
    axes.set_xticks(places, short, fontsize=9, **turned)
    axes.set_yticks(places, short, fontsize=9)
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = counts[row, column] > 0.6 * worst
        colour = "#777777" if row == column else "white" if dark else "black"
        axes.text(column, row, int(counts[row, column]), ha="center", va="center", fontsize=9, color=colour)


def sqnr_png(sides: Mapping[str, Mapping[str, float | None]]) -> bytes:
    """A bar a layer in dB, a panel a side; the layers in the model's order, the first 60 of them.

    A layer that loses nothing (None, or infinite) has a pale bar to the end, and says so.
    """
    layers = list(dict.fromkeys(layer for rows in sides.values() for layer in rows))[:MOST_LAYERS]
    height = 1.5 + 0.2 * len(layers)
    figure = _figure(9, height)
    axes = np.atleast_1d(figure.subplots(1, len(sides), sharey=True))
    figure.subplots_adjust(left=0.24, right=0.98, bottom=0.6 / height, top=1 - 0.4 / height, wspace=0.06)
    for each, (title, rows) in zip(axes, sides.items(), strict=True):
        _bars(each, layers, rows)
        each.set_title(title, fontsize=9)
    axes[0].set_yticks(range(len(layers)), layers, fontsize=7)
    axes[0].set_ylim(len(layers) - 0.4, -0.6)
    return _png(figure)


def _bars(axes: Any, layers: Sequence[str], rows: Mapping[str, float | None]) -> None:
    finite = [value for value in rows.values() if value is not None and math.isfinite(value)]
    end = max([*finite, 40.0]) * 1.12
    shown = {layer: value for layer, value in rows.items() if layer in layers}
    equal = {layer: value is None or value == math.inf for layer, value in shown.items()}
    lengths = [0.9 * end if equal[layer] else value for layer, value in shown.items()]
    colours = [EQUAL if equal[layer] else VARIANT_COLOURS["qat_int8"] for layer in shown]
    bars = axes.barh([layers.index(layer) for layer in shown], lengths, color=colours, height=0.72)
    words = [f" {'equal' if equal[layer] else f'{value:.1f}'}" for layer, value in shown.items()]
    axes.bar_label(bars, words, fontsize=7)
    axes.set_xlim(min([*finite, 0.0]), end)
    axes.set_xlabel("SQNR, dB (longer is better)", fontsize=9)


def calibration_png(samples: Mapping[str, NDArray], ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """Histograms of model inputs (shares of values), with the ends of what each file's input can hold.

    Args:
        samples: calibration, val, …: real model inputs of any shape.
        ranges: file to the smallest and largest real number that its input's codes stand for.
    """
    low = min([float(values.min()) for values in samples.values()] + [low for low, _ in ranges.values()])
    high = max([float(values.max()) for values in samples.values()] + [high for _, high in ranges.values()])
    edges = np.linspace(low, high, 61) if high > low else np.array([low - 0.5, low + 0.5])
    figure = _figure(6.4, 4)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.13, right=0.98, bottom=0.14, top=0.9)
    for (name, values), colour in zip(samples.items(), (SERIES[2], SERIES[3]), strict=False):
        counts, _ = np.histogram(values, edges)
        axes.stairs(
            counts / max(values.size, 1), edges, label=f"{name}, {len(values)} samples", color=colour, linewidth=1.5
        )
    for place, (name, ends) in enumerate(ranges.items()):
        style = {"color": colour_of(name), "linestyle": ("-", "--", ":")[place % 3], "linewidth": 2}
        axes.axvline(ends[0], label=f"{name} holds [{ends[0]:.4g}, {ends[1]:.4g}]", **style)
        axes.axvline(ends[1], **style)
    axes.set_yscale("symlog", linthresh=1e-4)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("model input, real numbers")
    axes.set_ylabel("share of values")
    axes.set_title("what calibration saw, against what the files' inputs hold", fontsize=10)
    axes.legend(fontsize=8)
    return _png(figure)
