"""Activation ranges from calibration data: min-max, percentile, or the range with the smallest squared error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.codes import scale_of_range
from qat.config import CalibrationConfig
from qat.errors import CalibrationError
from qat.quantization.dead_ranges import LEAST_SPAN
from qat.quantization.ir.graph import Graph, Tensor, is_fixed
from qat.quantization.ir.interpret import run, run_node, walk
from qat.quantization.ir.operations import MASKED_BELOW
from qat.quantization.keras.activation_quantizer import MASK_MARGIN
from qat.quantization.placement import SAME_SCALE, MinMax, Own, QuantSpec
from qat.quantization.tails import tail_margin

BINS = 2048
MOST_VALUES = 2**14  # per sample: with more, later samples hardly exceed those of calibration
FEW_BATCHES = 16  # run op by op: a graph of them takes longer to make than it saves
AT_ONCE = 2  # of these: one alone leaves cores idle
MOST_AT_ONCE = 1 << 28  # bytes of a batch's largest tensor: larger ones keep all cores busy, and take memory
FEEDBACK_MARGIN = 1.05  # what saturates in a recurrent layer comes back at every time step


@dataclass
class _Observation:
    """Values of one range on calibration data: smallest and largest of each sample, [rows, 2], and their number."""

    rows: NDArray
    count: int

    @property
    def min_max(self) -> NDArray[np.float64]:
        """Smallest and largest value of all rows, with 0 inside."""
        return np.array([min(self.rows[:, 0].min(), 0.0), max(self.rows[:, 1].max(), 0.0)], np.float64)

    def widen(self) -> NDArray[np.float64]:
        """The same, with a margin for rows that calibration has not seen."""
        min_max = self.min_max
        low, high = (
            tail_margin(tops, self.count, float(np.ptp(min_max))) for tops in (-self.rows[:, 0], self.rows[:, 1])
        )
        return min_max + np.array([-low, high])


def _is_data(tensor: Tensor) -> bool:
    """Whether it is an input of the model, at most moved or rescaled: later data have the same bounds."""
    operands = [each for each in tensor.node.inputs if not is_fixed(each)]
    passes_on = tensor.node.op in ("add", "mul", "fake_quant", "requantize", *SAME_SCALE) and len(operands) == 1
    return tensor.node.op == "input" or (passes_on and _is_data(operands[0]))


def _holds_scores(graph: Graph, tensor: Tensor) -> bool:
    """Whether softmaxes alone read it, at most moved: scores clipped above give a probability near 1 nevertheless."""
    consumers = [node for node in graph.nodes if tensor in node.inputs]
    moves = ("fake_quant", *SAME_SCALE)
    return bool(consumers) and all(
        node.op == "softmax" or (node.op in moves and _holds_scores(graph, node.output)) for node in consumers
    )


def _sample_extremes(values: tf.Tensor, quant_spec: QuantSpec, samples: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Smallest and largest value of each sample, [samples, 2], and how many values there are in all.

    A tensor with more than MOST_VALUES values per sample, or whose first axis is not the batch, counts as one row. Of
    masked scores, the masked ones count as MASK_MARGIN below the smallest other.
    """
    size = values.shape.num_elements() or 0
    by_sample = values.shape.rank and size and not quant_spec.masked and values.shape[0] % samples == 0
    rows = tf.reshape(values, [samples if by_sample and size <= MOST_VALUES * samples else 1, -1])
    low, high = tf.reduce_min(rows, axis=1), tf.reduce_max(rows, axis=1)
    if quant_spec.masked:
        low = tf.reduce_min(tf.where(rows > MASKED_BELOW, rows, high), axis=1) - MASK_MARGIN
    return tf.stack([low, high], axis=1), tf.size(values)


def _observe_ranges(
    graph: Graph,
    ranges: Sequence[QuantSpec],
    batches: Sequence[Sequence[NDArray]],
    compute: Callable[..., list[tf.Tensor]],
) -> list[_Observation]:
    """The values of each range on all batches.

    An LSTM runs each sample twice: from a state of zeros, and from the state that another sample left. A few rows do
    not reach all states, and what saturates there comes back at every time step. (TFLite's calibrator, which never
    resets a state, does the latter alone.)
    """
    tensors = [tensor for quant_spec in ranges for tensor in quant_spec.tensors]
    specs_of_tensors = [quant_spec for quant_spec in ranges for _ in quant_spec.tensors]
    defaults = {id(quant_spec): _Observation(np.zeros((1, 2)), 0) for quant_spec in ranges}
    if not tensors:  # the model is a table alone: its rows have a grid of their own
        return list(defaults.values())
    consumers: dict[Tensor, list[int]] = {}
    for index, tensor in enumerate(tensors):
        consumers.setdefault(tensor, []).append(index)

    def extremes(warm: bool, watched: bool, *inputs: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        extremes_of: dict[int, tuple[tf.Tensor, tf.Tensor]] = {}
        for tensor, values in walk(graph, list(inputs), partial(compute if watched else run_node, warm=warm)):
            for index in consumers.get(tensor, ()):
                extremes_of[index] = _sample_extremes(values, specs_of_tensors[index], int(inputs[0].shape[0]))
        return [extremes_of[index] for index in range(len(tensors))]

    starts = (False, True) if any(graph.nodes_of("lstm")) else (False,)
    run_eagerly = len(starts) == 1 and len(batches) <= FEW_BATCHES
    function = extremes if run_eagerly else tf.function(extremes, autograph=False)
    rows_of: dict[int, list] = {id(quant_spec): [] for quant_spec in ranges}
    runs = [(batch, warm, run_eagerly and batch is batches[0]) for batch in batches for warm in starts]
    at_once = AT_ONCE if run_eagerly and _largest_bytes(graph, len(batches[0][0])) <= MOST_AT_ONCE else 1
    device = tf.constant(0.0).device  # what the caller has chosen is not known to other threads
    with ThreadPoolExecutor(at_once) as pool:
        for observed in pool.map(partial(_run_on, device, function), *zip(*runs, strict=True)):
            for quant_spec, extremes_and_count in zip(specs_of_tensors, observed, strict=True):
                rows_of[id(quant_spec)].append(extremes_and_count)
    _check_finite(rows_of, ranges)
    return [
        _Observation(np.concatenate([rows for rows, _ in parts]), sum(int(count) for _, count in parts))
        if (parts := rows_of[id(quant_spec)])
        else defaults[id(quant_spec)]
        for quant_spec in ranges
    ]


def _largest_bytes(graph: Graph, rows: int) -> int:
    """The size of the largest tensor of so many rows as float32; sizes that are not known count as 1."""
    shapes = [tensor.shape[1:] for node in graph.nodes for tensor in node.outputs if tensor.shape]
    return 4 * rows * max((math.prod(size or 1 for size in shape) for shape in shapes), default=1)


def _run_on(device: str, function: Callable, batch: Sequence[NDArray], *options: bool) -> Any:
    """`_run_batch` on a device, in whatever thread."""
    with tf.device(device):
        return _run_batch(function, batch, *options)


def _run_batch(function: Callable, batch: Sequence[NDArray], *options: bool) -> Any:
    """One call; of a tf.function by its concrete function, else TensorFlow warns of too many traces."""
    tensors = [tf.constant(values) for values in batch]
    traced = hasattr(function, "get_concrete_function")
    outputs = function.get_concrete_function(*options, *tensors)(*tensors) if traced else function(*options, *tensors)
    return tf.nest.map_structure(lambda value: value.numpy(), outputs)


def _check_finite(rows_of: dict[int, list], ranges: Sequence[QuantSpec]) -> None:
    for quant_spec in ranges:
        if not all(np.isfinite(rows).all() for rows, _ in rows_of[id(quant_spec)]):
            raise CalibrationError(
                f"the output of layer {quant_spec.layer!r} is NaN or infinite on the calibration data: ranges cannot "
                "be set. Look at the float model's weights and at the data that reaches it"
            )


def _histograms(graph: Graph, ranges: Sequence[QuantSpec], min_max: NDArray, batches: Sequence) -> NDArray[np.float64]:
    """Counts in BINS equal bins between each range's limits `min_max` [ranges, 2]: [ranges, BINS]."""

    @tf.function(autograph=False)
    def counts(*inputs: tf.Tensor) -> tf.Tensor:
        rows = []
        for quant_spec, low_high in zip(ranges, min_max, strict=True):
            values = run_cached(inputs, quant_spec)
            limits = tf.constant(low_high, tf.float32)
            rows.append(tf.add_n([tf.histogram_fixed_width(v, limits, BINS) for v in values]))
        return tf.stack(rows)

    cache: dict[int, list[tf.Tensor]] = {}

    def run_cached(inputs: tuple, quant_spec: QuantSpec) -> list[tf.Tensor]:
        if not cache:
            tensors = [tensor for each in ranges for tensor in each.tensors]
            results = iter(run(graph, list(inputs), tensors))
            cache.update({id(each): [next(results) for _ in each.tensors] for each in ranges})
        return cache[id(quant_spec)]

    total = np.zeros((len(ranges), BINS))
    for batch in batches:
        cache.clear()
        total += _run_batch(counts, batch)
    return total


def percentile_range(counts: NDArray, min_max: NDArray, percentile: float) -> MinMax:
    """The range without the share (1 - percentile/100) of the values on each side; 0 stays inside.

    Args:
        counts: how many values fell into each of equal bins between the limits, [bins].
        min_max: smallest and largest value, the limits of the bins, [2].
        percentile: per cent of the values that each side keeps, 50 to 100.

    Returns:
        (min, max) in the unit of the values, both on edges of bins.

    >>> percentile_range(np.array([1.0, 98.0, 1.0]), np.array([-3.0, 3.0]), 98.0)
    (-1.0, 1.0)
    """
    edges = np.linspace(min_max[0], min_max[1], len(counts) + 1)
    share = np.cumsum(counts) / counts.sum()
    tail = 1 - percentile / 100
    low = edges[int(np.searchsorted(share, tail, side="right"))] if min_max[0] < 0 else 0.0
    high = edges[min(int(np.searchsorted(share, 1 - tail)) + 1, len(counts))] if min_max[1] > 0 else 0.0
    return float(min(low, 0.0)), float(max(high, 0.0))


def mse_range(counts: NDArray, min_max: NDArray, levels: int = 255) -> MinMax:
    """The range, narrowed on both sides by the factor with the smallest sum of clipping and rounding error.

    A value inside is rounded with a mean squared error of scale^2 / 12; one outside is clipped as well.

    Args:
        counts: how many values fell into each of equal bins between the limits, [bins].
        min_max: smallest and largest value, the limits of the bins, [2].
        levels: number of codes less one, as 255 for 8 bits.

    Returns:
        (min, max) in the unit of the values: the limits times the best of 71 factors from 0.3 to 1.
    """
    edges = np.linspace(min_max[0], min_max[1], len(counts) + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    best, selected = np.inf, (float(min_max[0]), float(min_max[1]))
    for factor in np.linspace(1.0, 0.3, 71):
        low, high = min_max[0] * factor, min_max[1] * factor
        clipped = np.clip(centres, low, high)
        scale = scale_of_range(low, high, levels)
        error = float(np.sum(counts * ((centres - clipped) ** 2 + scale * scale / 12)))
        if error < best:
            best, selected = error, (float(low), float(high))
    return selected


def widen_to_integer_zero_point(low: float, high: float, levels: int = 255) -> MinMax:
    """The narrowest range around this one whose zero point is an integer, so that 0 and both limits are codes.

    FakeQuant and the converter would shift the range by up to half a code instead (FakeQuant's "nudging"). For pixels
    scaled to [-1, 1] that is exactly half a code, and each pixel would lie between two codes.

    Args:
        low: lower limit, a real number in the unit of the tensor, at most 0.
        high: upper limit, in the same unit, at least 0.
        levels: number of codes less one, as 255 for 8 bits.

    Returns:
        (min, max) in the same unit; a range with 0 at a limit or outside is returned as it is.

    >>> [round(end * 127, 6) for end in widen_to_integer_zero_point(-1.0, 1.0)], widen_to_integer_zero_point(0.0, 1.0)
    ([-127.0, 128.0], (0.0, 1.0))
    """
    if low >= 0 or high <= 0:
        return low, high
    below = -low / (high - low) * levels
    if abs(below - round(below)) < 1e-4:
        return low, high
    candidates = [z for z in (int(below), int(below) + 1) if 0 < z < levels]
    scale, zero = min((max(-low / z, high / (levels - z)), z) for z in candidates)
    return -zero * scale, (levels - zero) * scale


def _within_bounds(quant_spec: QuantSpec, low: float, high: float) -> MinMax:
    """The limits, no further out than a clamp of the model lets through."""
    least, largest = quant_spec.bounds or (low, high)
    return max(low, least), min(high, largest)


def _is_clamped(quant_spec: QuantSpec, low: float, high: float) -> bool:
    """Whether a clamp of the model cuts off what was seen: its bounds are the limits then."""
    return quant_spec.bounds is not None and _within_bounds(quant_spec, low, high) != (low, high)


def _may_be_exceeded(graph: Graph, quant_spec: QuantSpec) -> bool:
    """Whether later rows may exceed the limits seen in calibration, and it matters."""
    bounded = quant_spec.masked or quant_spec.kind == Own(minmax=True) or any(map(_is_data, quant_spec.tensors))
    return not bounded and not all(_holds_scores(graph, tensor) for tensor in quant_spec.tensors)


def calibrate(
    graph: Graph,
    ranges: Sequence[QuantSpec],
    batches: Sequence[Sequence[NDArray]],
    settings: CalibrationConfig,
    methods: Sequence[str] | None = None,
    compute: Callable[..., list[tf.Tensor]] = run_node,
) -> list[MinMax]:
    """The limits of each range from calibration data.

    Args:
        graph: the canonical graph with its ranges placed.
        ranges: the ranges that `place` returned.
        batches: calibration data: per batch one array [n, ...] per input, in `model.inputs` order and the inputs' unit.
        settings: the method for all ranges, and its percentile.
        methods: the method of each range, "minmax", "percentile" or "mse"; None takes that of `settings` for all.
        compute: function of a node and its inputs to its outputs in float, as `run_node`; it gets each node of the
            first batch. Where there are so many batches that a graph is compiled for them, it gets none.

    Returns:
        (min, max) per range, with min <= 0 <= max and min < max unless a kernel prescribes them, in the tensor's unit.
        `LEAST_SPAN` wide where the tensor is 0 everywhere: `widen_dead` knows its operands.

    Raises:
        CalibrationError: an activation is NaN or infinite on this data; the layer is named.
    """
    methods = list(methods or [settings.method] * len(ranges))
    observations = _observe_ranges(graph, ranges, batches, compute)
    min_max = np.stack([each.min_max for each in observations]) if observations else np.zeros((0, 2))
    selected = [i for i, (low, high) in enumerate(min_max) if methods[i] != "minmax" and high - low > LEAST_SPAN]
    selected = [i for i in selected if not (ranges[i].masked or ranges[i].kind == Own(minmax=True))]
    selected = [i for i in selected if not _is_clamped(ranges[i], *min_max[i])]
    if selected:
        counts = _histograms(graph, [ranges[i] for i in selected], min_max[selected], batches)
        for row, i in enumerate(selected):
            if methods[i] == "percentile":
                min_max[i] = percentile_range(counts[row], min_max[i], settings.percentile)
            else:
                min_max[i] = mse_range(counts[row], min_max[i])
    for i, quant_spec in enumerate(ranges):
        if quant_spec.time_step_key or quant_spec.holds_recurrent_state:
            min_max[i] *= FEEDBACK_MARGIN
        elif methods[i] == "minmax" and _may_be_exceeded(graph, quant_spec):
            min_max[i] = observations[i].widen()
        min_max[i] = _within_bounds(quant_spec, *min_max[i])
    return [
        quant_spec.fixed or widen_to_integer_zero_point(float(low), float(max(high, low + LEAST_SPAN)))
        for quant_spec, (low, high) in zip(ranges, min_max, strict=True)
    ]
