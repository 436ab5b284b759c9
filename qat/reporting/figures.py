"""Figures of one run, for its folder and for TensorBoard: PNG by matplotlib, drawn quickly rather than laid out."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qat.comparison.pareto import find_pareto_front
from qat.reporting.colours import EQUAL, SERIES, VARIANT_COLOURS, colour_of
from qat.reporting.numbers import compute_gain, format_gain
from qat.results import Variant
from qat.tasks import is_in_percent
from qat.variants import FLOAT
from qat.wrapping import shorten_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED_CLASSES = 20
MOST_LAYERS = 60
_SMALL_SIZE = (4.8, 3.8)  # inches: about the size that TensorBoard shows


def make_figure(width: float, height: float, dpi: int = 90, layout: str | None = None) -> Figure:
    """A figure of matplotlib's that no window shows.

    Args:
        width: width of the figure, in inches.
        height: height of the figure, in inches.
        dpi: resolution in pixels per inch.
        layout: matplotlib's name of a layout, as "constrained"; None for margins that the caller sets.

    Returns:
        The figure, without axes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


@functools.cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(findfont("DejaVu Sans")).get_charmap())


def is_drawable(text: str) -> bool:
    """Whether matplotlib's own font has every character."""
    return text.isascii() or all(ord(each) in _glyphs() for each in text)


def plain(text: str) -> str:
    """Text that matplotlib does not take for a formula; boxes stand for characters that its font does not have.

    >>> plain("$5 bills"), plain("猫 3")
    ('\\\\$5 bills', '□ 3')
    """
    drawable = text if is_drawable(text) else "".join(each if is_drawable(each) else "□" for each in text)
    return "".join(each if each.isprintable() else " " for each in drawable).replace("$", r"\$")


def draw_gains(variants: Mapping[str, Variant]) -> bytes:
    """PNG with a bar per quantized file: how much better than float it is on test. `variants` holds `float`."""
    figure = make_figure(*_SMALL_SIZE)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.14, right=0.97, bottom=0.12, top=0.88)
    reference, names = variants[FLOAT].metric, [name for name in variants if name != FLOAT]
    factor = 100 if is_in_percent(reference.name) else 1
    gains = [compute_gain(variants[name].metric, reference) * factor for name in names]
    bars = axes.bar(names, gains, color=[colour_of(name) for name in names], width=0.5)
    axes.bar_label(bars, [format_gain(variants[name].metric, reference) for name in names])
    axes.axhline(0, color="black", linewidth=0.8)
    low, high = min([0.0, *gains]), max([0.0, *gains])
    padding = 0.2 * (high - low) or 0.5
    axes.set_ylim(low - padding, high + padding)
    axes.set_title(f"against float on test{', points' if factor == 100 else ''} (up is better)", fontsize=11)
    return to_png(figure)


def draw_metric_against_cost(variants: Mapping[str, Variant], cost: Mapping[str, float], label: str) -> bytes:
    """PNG with the metric on test against a cost, one point per variant, with the Pareto front.

    Args:
        variants: name of each variant to its metrics on test.
        cost: name of each variant to its size or latency, in the unit that `label` names.
        label: title of the axis of costs, with its unit, as "latency, ms".

    Returns:
        Bytes of a PNG file.
    """
    figure = make_figure(*_SMALL_SIZE)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.16, right=0.97, bottom=0.15, top=0.88)
    metric, names = next(iter(variants.values())).metric, list(cost)
    factor = 100 if is_in_percent(metric.name) else 1
    points = [(cost[name], variants[name].metric.value * factor) for name in names]
    signed_points = [(x, y if metric.higher_is_better else -y) for x, y in points]
    xs, ys = zip(*[points[index] for index in find_pareto_front(signed_points)], strict=True)
    axes.step(xs, ys, where="post", color="#888888", linestyle="--", linewidth=1, zorder=1, label="Pareto front")
    for name, (x, y) in zip(names, points, strict=True):
        axes.scatter([x], [y], color=colour_of(name), s=60, zorder=2, label=name)
    values = [y for _, y in points]
    padding = 0.25 * (max(values) - min(values)) or 0.005 * factor
    axes.set_ylim(min(values) - padding, max(values) + padding)
    axes.set_xlim(0, max(x for x, _ in points) * 1.15)
    axes.set_xlabel(label)
    axes.set_title(f"{metric.name} on test{', %' if factor == 100 else ''}", fontsize=11)
    axes.legend(fontsize=9)
    axes.grid(alpha=0.3)
    return to_png(figure)


def count_confusions(labels: NDArray, predicted: NDArray, classes: int) -> NDArray[np.int64]:
    """Counts of label against predicted class.

    >>> count_confusions(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]

    Args:
        labels: class of each sample, [N], integers.
        predicted: predicted class of each sample, [N], integers.
        classes: number of classes; more where a label or a prediction is higher.

    Returns:
        int64 [classes, classes]: rows are the label, columns the prediction.
    """
    classes = max(classes, int(labels.max(initial=0)) + 1, int(predicted.max(initial=0)) + 1)
    flat = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def draw_confusion_matrices(matrices: Mapping[str, NDArray[np.int64]], class_names: Sequence[str]) -> bytes:
    """PNG with confusion matrices one below the other, mistakes coloured; with numbers for up to 20 classes.

    Next to each other they would be half as large where TensorBoard shows them.

    Args:
        matrices: title of each matrix to its counts, int64 [classes, classes], rows the label.
        class_names: one per class; a class without a name, or with one that the font lacks, is shown by its index.

    Returns:
        Bytes of a PNG file.
    """
    figure = make_figure(4.4, 4.2 * len(matrices))
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
    return to_png(figure)


def _name_classes(axes: Axes, counts: NDArray, class_names: Sequence[str], worst: int) -> None:
    named = [name if is_drawable(name) else str(number) for number, name in enumerate(class_names)]
    names = [*named, *map(str, range(len(named), len(counts)))][: len(counts)]
    short = [plain(name) for name in shorten_all(names, 9)]
    positions = range(len(short))
    rotation = {"rotation": 90} if max(map(len, short), default=0) > 3 else {}
    axes.set_xticks(positions, short, fontsize=9, **rotation)
    axes.set_yticks(positions, short, fontsize=9)
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = counts[row, column] > 0.6 * worst
        colour = "#777777" if row == column else "white" if dark else "black"
        axes.text(column, row, int(counts[row, column]), ha="center", va="center", fontsize=9, color=colour)


def draw_sqnr(sqnr_by_title: Mapping[str, Mapping[str, float | None]]) -> bytes:
    """PNG with a bar per layer in dB, in a panel per title; the layers in the model's order, the first 60 of them.

    A layer that loses nothing (None, or infinite) has a pale bar to the end, labelled "equal".
    """
    layers = list(dict.fromkeys(layer for rows in sqnr_by_title.values() for layer in rows))[:MOST_LAYERS]
    height = 1.5 + 0.2 * len(layers)
    figure = make_figure(9, height)
    axes = np.atleast_1d(figure.subplots(1, len(sqnr_by_title), sharey=True))
    figure.subplots_adjust(left=0.24, right=0.98, bottom=0.6 / height, top=1 - 0.4 / height, wspace=0.06)
    for each, (title, rows) in zip(axes, sqnr_by_title.items(), strict=True):
        _bars(each, layers, rows)
        each.set_title(title, fontsize=9)
    axes[0].set_yticks(range(len(layers)), list(map(plain, layers)), fontsize=7)
    axes[0].set_ylim(len(layers) - 0.4, -0.6)
    return to_png(figure)


def _bars(axes: Axes, layers: Sequence[str], rows: Mapping[str, float | None]) -> None:
    finite = [value for value in rows.values() if value is not None and math.isfinite(value)]
    end = max([*finite, 40.0]) * 1.12
    values = {layer: value for layer, value in rows.items() if layer in layers}
    is_lossless = {layer: value is None or value == math.inf for layer, value in values.items()}
    lengths = [0.9 * end if is_lossless[layer] else value for layer, value in values.items()]
    colours = [EQUAL if is_lossless[layer] else VARIANT_COLOURS["qat_int8"] for layer in values]
    bars = axes.barh([layers.index(layer) for layer in values], lengths, color=colours, height=0.72)
    words = [f" {'equal' if is_lossless[layer] else f'{value:.1f}'}" for layer, value in values.items()]
    axes.bar_label(bars, words, fontsize=7)
    axes.set_xlim(min([*finite, 0.0]), end)
    axes.set_xlabel("SQNR, dB (longer is better)", fontsize=9)


def draw_input_histograms(samples: Mapping[str, NDArray], ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """PNG with histograms of model inputs (shares of values), and the limits of what each file's input can hold.

    Args:
        samples: name of a split, as calibration or val, to its model inputs, float of any shape.
        ranges: name of a file to the smallest and largest real number that its input's codes stand for.

    Returns:
        Bytes of a PNG file.
    """
    low = min([float(values.min()) for values in samples.values()] + [low for low, _ in ranges.values()])
    high = max([float(values.max()) for values in samples.values()] + [high for _, high in ranges.values()])
    edges = np.linspace(low, high, 61) if high > low else np.array([low - 0.5, low + 0.5])
    figure = make_figure(6.4, 4)
    axes = figure.subplots()
    figure.subplots_adjust(left=0.13, right=0.98, bottom=0.14, top=0.9)
    for (name, values), colour in zip(samples.items(), (SERIES[2], SERIES[3]), strict=False):
        counts, _ = np.histogram(values, edges)
        axes.stairs(
            counts / max(values.size, 1), edges, label=f"{name}, {len(values)} samples", color=colour, linewidth=1.5
        )
    for index, (name, limits) in enumerate(ranges.items()):
        style = {"color": colour_of(name), "linestyle": ("-", "--", ":")[index % 3], "linewidth": 2}
        axes.axvline(limits[0], label=f"{name} holds [{limits[0]:.4g}, {limits[1]:.4g}]", **style)
        axes.axvline(limits[1], **style)
    axes.set_yscale("symlog", linthresh=1e-4)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("model input, real numbers")
    axes.set_ylabel("share of values")
    axes.set_title("calibration data, against the range of the files' inputs", fontsize=10)
    axes.legend(fontsize=8)
    return to_png(figure)
