"""Activation ranges from calibration data: min-max, percentile, or the range with the smallest squared error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.config import CalibrationConfig
from qat.errors import CalibrationError, ConfigError
from qat.quantization.ir.graph import Graph, Tensor
from qat.quantization.ir.interpret import run, run_node, walk
from qat.quantization.keras.quantizers import MASK_MARGIN, MASKED_BELOW, SMALLEST_SPAN
from qat.quantization.placement import SAME_SCALE, Range
from qat.quantization.rewrites.builder import is_fixed
from qat.quantization.tails import tail_margin

BINS = 2048
METHODS = ("minmax", "percentile", "mse")
DEAD_SPAN = 1.0  # of a tensor that is 0 everywhere: a tiny one asks for factors that kernels refuse
MOST_VALUES = 2**14  # of a sample: with more, samples to come go hardly beyond what was seen
FEW_BATCHES = 16  # run op by op: a graph of them takes longer to make than it saves
FEEDBACK_MARGIN = 1.05  # what saturates in a recurrent layer comes back at every step


@dataclass
class _Seen:
    """What calibration shows of one range: smallest and largest value of each sample, [rows, 2]; how many values."""

    rows: NDArray
    count: int

    @property
    def span(self) -> NDArray[np.float64]:
        """Smallest and largest value of all rows, with 0 inside."""
        return np.array([min(self.rows[:, 0].min(), 0.0), max(self.rows[:, 1].max(), 0.0)], np.float64)

    def widened(self) -> NDArray[np.float64]:
        """The span with what rows to come will need beyond it."""
        span = self.span
        low, high = (tail_margin(tops, self.count, float(np.ptp(span))) for tops in (-self.rows[:, 0], self.rows[:, 1]))
        return span + np.array([-low, high])


def _is_data(tensor: Tensor) -> bool:
    """Whether it is an input of the model, moved or rescaled at most: its bounds are those of the data, and whole
    numbers stay whole codes."""
    operands = [each for each in tensor.node.inputs if not is_fixed(each)]
    passes_on = tensor.node.op in ("add", "mul", "fake_quant", "requantize", *SAME_SCALE) and len(operands) == 1
    return tensor.node.op == "input" or (passes_on and _is_data(operands[0]))


def _holds_scores(graph: Graph, tensor: Tensor) -> bool:
    """Whether a softmax alone reads it, moved at most: scores cut off above give a probability near 1 all the same."""
    readers = [node for node in graph.nodes if tensor in node.inputs]
    moves = ("fake_quant", *SAME_SCALE)
    return bool(readers) and all(
        node.op == "softmax" or (node.op in moves and _holds_scores(graph, node.output)) for node in readers
    )


def _extremes(values: tf.Tensor, on: Range, samples: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Smallest and largest value of each sample, [samples, 2], and how many values there are in all.

    A tensor of which a sample holds many, or that is not made of samples, counts as one. Of masked scores, those that
    are hidden stand MASK_MARGIN below the smallest.
    """
    size = values.shape.num_elements() or 0
    apart = values.shape.rank and size and not on.masked and values.shape[0] % samples == 0
    rows = tf.reshape(values, [samples if apart and size <= MOST_VALUES * samples else 1, -1])
    low, high = tf.reduce_min(rows, axis=1), tf.reduce_max(rows, axis=1)
    if on.masked:
        low = tf.reduce_min(tf.where(rows > MASKED_BELOW, rows, high), axis=1) - MASK_MARGIN
    return tf.stack([low, high], axis=1), tf.size(values)


def _seen(graph: Graph, ranges: Sequence[Range], batches: Sequence[Sequence[NDArray]]) -> list[_Seen]:
    """What all batches show of each range.

    An LSTM sees each sample twice: by itself, and as if it went on from another. A few rows do not show all states
    that it will be in; what saturates there comes back at every step. (TFLite's calibrator, which never forgets a
    state, does the latter alone.)
    """
    wanted = [tensor for on in ranges for tensor in on.tensors]
    held_by = [on for on in ranges for _ in on.tensors]
    nothing = {id(on): _Seen(np.zeros((1, 2)), 0) for on in ranges}
    if not wanted:  # a table alone: its rows are on its own grid
        return list(nothing.values())
    readers: dict[Tensor, list[int]] = {}
    for place, tensor in enumerate(wanted):
        readers.setdefault(tensor, []).append(place)

    def extremes(warm: bool, *inputs: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        made: dict[int, tuple[tf.Tensor, tf.Tensor]] = {}
        for tensor, values in walk(graph, list(inputs), partial(run_node, warm=warm)):
            for place in readers.get(tensor, ()):
                made[place] = _extremes(values, held_by[place], int(inputs[0].shape[0]))
        return [made[place] for place in range(len(wanted))]

    starts = (False, True) if any(graph.of("lstm")) else (False,)
    at_once = len(starts) == 1 and len(batches) <= FEW_BATCHES
    found: dict[int, list] = {id(on): [] for on in ranges}
    function = extremes if at_once else tf.function(extremes, autograph=False)
    for batch in batches:
        for warm in starts:
            seen_by_all = _of_batch(function, batch, warm)
            for on, seen in zip(held_by, seen_by_all, strict=True):
                found[id(on)].append(seen)
    _check_finite(found, ranges)
    return [
        _Seen(np.concatenate([rows for rows, _ in parts]), sum(int(count) for _, count in parts))
        if (parts := found[id(on)])
        else nothing[id(on)]
        for on in ranges
    ]


def _of_batch(function: Any, batch: Sequence[NDArray], *options: bool) -> Any:
    """One call, of a tf.function by the graph for these shapes: of one that is called itself, TensorFlow warns after
    some models that it is traced too often."""
    tensors = [tf.constant(values) for values in batch]
    traced = hasattr(function, "get_concrete_function")
    found = function.get_concrete_function(*options, *tensors)(*tensors) if traced else function(*options, *tensors)
    return tf.nest.map_structure(lambda value: value.numpy(), found)


def _check_finite(found: dict[int, list], ranges: Sequence[Range]) -> None:
    for on in ranges:
        if not all(np.isfinite(rows).all() for rows, _ in found[id(on)]):
            raise CalibrationError(
                f"the output of layer {on.layer!r} is NaN or infinite on the calibration data: ranges cannot be "
                "set. Look at the float model's weights and at the data that reaches it"
            )


def _histograms(graph: Graph, ranges: Sequence[Range], spans: NDArray, batches: Sequence) -> NDArray[np.float64]:
    """Counts in BINS equal bins over each range's span, [ranges, BINS]."""

    @tf.function(autograph=False)
    def counts(*inputs: tf.Tensor) -> tf.Tensor:
        rows = []
        for on, span in zip(ranges, spans, strict=True):
            values = run_cached(inputs, on)
            limits = tf.constant(span, tf.float32)
            rows.append(tf.add_n([tf.histogram_fixed_width(v, limits, BINS) for v in values]))
        return tf.stack(rows)

    cache: dict[int, list[tf.Tensor]] = {}

    def run_cached(inputs: tuple, on: Range) -> list[tf.Tensor]:
        if not cache:
            wanted = [tensor for each in ranges for tensor in each.tensors]
            results = iter(run(graph, list(inputs), wanted))
            cache.update({id(each): [next(results) for _ in each.tensors] for each in ranges})
        return cache[id(on)]

    total = np.zeros((len(ranges), BINS))
    for batch in batches:
        cache.clear()
        total += _of_batch(counts, batch)
    return total


def percentile_span(counts: NDArray, span: NDArray, percentile: float) -> tuple[float, float]:
    """The span without the share (1 - percentile/100) on each side; 0 stays inside.

    >>> percentile_span(np.array([1.0, 98.0, 1.0]), np.array([-3.0, 3.0]), 98.0)
    (-1.0, 1.0)
    """
    edges = np.linspace(span[0], span[1], len(counts) + 1)
    share = np.cumsum(counts) / counts.sum()
    tail = 1 - percentile / 100
    low = edges[int(np.searchsorted(share, tail, side="right"))] if span[0] < 0 else 0.0
    high = edges[min(int(np.searchsorted(share, 1 - tail)) + 1, len(counts))] if span[1] > 0 else 0.0
    return float(min(low, 0.0)), float(max(high, 0.0))


def mse_span(counts: NDArray, span: NDArray, levels: int = 255) -> tuple[float, float]:
    """The span, shrunk on both sides by the factor whose clipping and rounding error is smallest."""
    edges = np.linspace(span[0], span[1], len(counts) + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    best, chosen = np.inf, (float(span[0]), float(span[1]))
    for factor in np.linspace(1.0, 0.3, 71):
        low, high = span[0] * factor, span[1] * factor
        clipped = np.clip(centres, low, high)
        step = (high - low) / levels
        error = float(np.sum(counts * ((centres - clipped) ** 2 + step * step / 12)))
        if error < best:
            best, chosen = error, (float(low), float(high))
    return chosen


def whole_span(low: float, high: float, levels: int = 255) -> tuple[float, float]:
    """The smallest span around this one in which 0 is a code, so that both ends are codes as well.

    FakeQuant and the converter would shift the span by up to half a code instead. For pixels scaled to [-1, 1] that is
    exactly half a code, and each pixel falls between two codes.

    >>> [round(end * 127, 6) for end in whole_span(-1.0, 1.0)], whole_span(0.0, 1.0)
    ([-127.0, 128.0], (0.0, 1.0))
    """
    if low >= 0 or high <= 0:
        return low, high
    below = -low / (high - low) * levels
    if abs(below - round(below)) < 1e-4:
        return low, high
    candidates = [z for z in (int(below), int(below) + 1) if 0 < z < levels]
    step, zero = min((max(-low / z, high / (levels - z)), z) for z in candidates)
    return -zero * step, (levels - zero) * step


def _prescribed(on: Range) -> tuple[float, float] | None:
    """What a kernel has its output on, or the bounds of a clamp, both on codes: one end may reach a code further."""
    return whole_span(*on.fixed) if on.fixed is not None and on.saturates else on.fixed


def _may_be_exceeded(graph: Graph, on: Range) -> bool:
    """Whether rows to come count beyond what calibration has shown."""
    bounded = on.masked or on.entire or any(map(_is_data, on.tensors))
    return not bounded and not all(_holds_scores(graph, tensor) for tensor in on.tensors)


def calibrate(
    graph: Graph,
    ranges: Sequence[Range],
    batches: Sequence[Sequence[NDArray]],
    settings: CalibrationConfig,
    methods: Sequence[str] | None = None,
) -> list[tuple[float, float]]:
    """A (min, max) for each range, 0 inside, never empty; `methods` gives each range its own method.

    Raises:
        CalibrationError: an activation is NaN or infinite on this data; the layer is named.
        ConfigError: an unknown method.
    """
    methods = list(methods or [settings.method] * len(ranges))
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"quant.calibration.method={method!r}: expected one of {', '.join(METHODS)}")
    seen = _seen(graph, ranges, batches)
    spans = np.stack([each.span for each in seen]) if seen else np.zeros((0, 2))
    chosen = [i for i, (low, high) in enumerate(spans) if methods[i] != "minmax" and high - low > SMALLEST_SPAN]
    chosen = [i for i in chosen if not (ranges[i].masked or ranges[i].entire)]
    if chosen:
        counts = _histograms(graph, [ranges[i] for i in chosen], spans[chosen], batches)
        for row, i in enumerate(chosen):
            if methods[i] == "percentile":
                spans[i] = percentile_span(counts[row], spans[i], settings.percentile)
            else:
                spans[i] = mse_span(counts[row], spans[i])
    for i, on in enumerate(ranges):
        if on.step or on.feeds_back:
            spans[i] *= FEEDBACK_MARGIN
        elif methods[i] == "minmax" and _may_be_exceeded(graph, on):
            spans[i] = seen[i].widened()
    return [
        _prescribed(on) or whole_span(float(low), float(high if high - low > SMALLEST_SPAN else low + DEAD_SPAN))
        for on, (low, high) in zip(ranges, spans, strict=True)
    ]
