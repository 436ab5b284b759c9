"""How well each activation's range fits on given data while ranges and weights move: what it cuts off and costs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.quantization.layers import RangeLayer


@dataclass(frozen=True)
class RangeFit:
    """One quantizer of activations, by the name of the Keras layer before it; the worst call where it serves several.

    A value is cut off where it lies more than half a step outside [min, max]: there the quantizer moves it further
    than rounding would. `sqnr_db` is of the values on their grid against the same values before.
    """

    layer: str
    cut_off: float  # share of the values, 0-1
    sqnr_db: float  # infinite where nothing is lost


class RangeMeter:
    """The ranges of a model that `quantize_model` returned. Its graph is made once; it reads the ranges as they are.

    Args:
        model: the QAT model.
        function: its plain call, traced with an open batch, where there is such a trace: tracing costs the most.
    """

    def __init__(self, model: tf_keras.Model, function: Any = None) -> None:
        self._measured = _measured(model, function or _plain_call(model))
        self._sums = tf.function(self._traced, autograph=False)

    def __call__(self, inputs: NDArray[np.float32]) -> tuple[list[RangeFit], float]:
        """A RangeFit a layer, in the model's order, and the share cut off of all values together.

        Args:
            inputs: model inputs [N, ...].
        """
        if not self._measured.places:
            return [], 0.0
        with _as_written():
            sums = self._sums(tf.constant(inputs)).numpy().astype(np.float64)
        fits: dict[str, RangeFit] = {}
        for (layer, _), (count, outside, signal, noise) in zip(self._measured.places, sums, strict=True):
            name, share, sqnr_db = layer.source or layer.name, outside / count, _db(signal, noise)
            known = fits.get(name, RangeFit(name, 0.0, math.inf))
            fits[name] = RangeFit(name, max(known.cut_off, share), min(known.sqnr_db, sqnr_db))
        return list(fits.values()), float(sums[:, 1].sum() / sums[:, 0].sum())

    def _traced(self, inputs: tf.Tensor) -> tf.Tensor:
        """[calls, 4]: number of values, how many are cut off, sum of their squares, sum of squared errors."""
        graph, places = self._measured.function.graph, self._measured.places
        captured = zip(graph.internal_captures, graph.external_captures, strict=True)
        known = {inner.name: inputs.graph.capture(outer) for inner, outer in captured} | {graph.inputs[0].name: inputs}
        names = [tensor.name for _, op in places for tensor in (*op.inputs, *op.outputs)]
        found = tf.import_graph_def(graph.as_graph_def(), input_map=known, return_elements=names, name="measured")
        return tf.stack([_sums(layer, *found[4 * i : 4 * i + 4]) for i, (layer, _) in enumerate(places)])


@dataclass(frozen=True)
class _Measured:
    function: Any
    places: list[tuple[RangeLayer, Any]]  # each call of a range's layer, and its FakeQuant op in the function's graph


def _measured(model: tf_keras.Model, function: Any) -> _Measured:
    graph = function.graph
    held = {inner.name: outer for inner, outer in zip(graph.internal_captures, graph.external_captures, strict=True)}
    ops: dict[int, list[Any]] = {}  # by the variable that holds the lower end
    for op in graph.get_operations():
        if op.type == "FakeQuantWithMinMaxVars" and op.inputs[1].op.type == "ReadVariableOp":
            ops.setdefault(id(held.get(op.inputs[1].op.inputs[0].name)), []).append(op)
    layers = [layer for layer in model.layers if isinstance(layer, RangeLayer)]
    places = [(layer, op) for layer in layers for op in ops.get(id(layer.quantizer_vars["min_var"].handle), [])]
    return _Measured(function, places)


def _plain_call(model: tf_keras.Model) -> Any:
    entry = model.inputs[0]
    call = tf.function(lambda inputs: model(inputs, training=False), autograph=False)
    return call.get_concrete_function(tf.TensorSpec([None, *entry.shape[1:]], entry.dtype))


@contextlib.contextmanager
def _as_written() -> Iterator[None]:
    """Run graphs without optimizing them first: it takes ten times longer than it spares on some samples an epoch."""
    try:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def _sums(layer: RangeLayer, values: tf.Tensor, low: tf.Tensor, high: tf.Tensor, rounded: tf.Tensor) -> tf.Tensor:
    half = (high - low) / (2.0 * (2**layer.quantizer.bits - 1))
    outside = tf.math.count_nonzero((values < low - half) | (values > high + half), dtype=tf.int32)
    counts = [tf.cast(number, tf.float32) for number in (tf.size(values), outside)]
    return tf.stack([*counts, tf.reduce_sum(tf.square(values)), tf.reduce_sum(tf.square(rounded - values))])


def _db(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
