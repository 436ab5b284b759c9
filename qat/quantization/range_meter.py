"""How well each activation's range fits on given data while ranges and weights move: what it cuts off and costs."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tensorflow.core.framework import function_pb2, types_pb2
from tensorflow.python.eager import context

from qat.quantization.layers import RangeLayer

MOST_AT_ONCE = 1 << 18  # numbers of model inputs: the activations that they make are held together
_ENDS = 4  # of a FakeQuant op: what it rounds, the range's two ends, what it made of it


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
    """The ranges of a model that `quantize_model` returned, read as they are at each call.

    Args:
        model: the QAT model.
        function: its plain call, traced with an open batch, where there is such a trace: tracing costs the most.
    """

    def __init__(self, model: tf_keras.Model, function: Any = None) -> None:
        self._function = function or _plain_call(model)
        definition = function_pb2.FunctionDef()
        definition.CopyFrom(self._function.function_def)
        places = list(_places(model, definition, self._function.captured_inputs))
        self._layers = [layer for layer, _ in places]
        self._name = _register(definition, [node for _, node in places])
        weakref.finalize(self, context.context().remove_function, self._name)

    def __call__(self, inputs: NDArray[np.float32]) -> tuple[list[RangeFit], float]:
        """A RangeFit a layer, in the model's order, and the share cut off of all values together.

        Args:
            inputs: model inputs [N, ...].
        """
        if not self._layers:
            return [], 0.0
        size = max(1, MOST_AT_ONCE // inputs[0].size)
        sums = np.sum([self._sums(inputs[start : start + size]) for start in range(0, len(inputs), size)], axis=0)
        fits: dict[str, RangeFit] = {}
        for layer, (count, outside, signal, noise) in zip(self._layers, sums.tolist(), strict=True):
            name, share, sqnr_db = layer.source or layer.name, outside / count, _db(signal, noise)
            known = fits.get(name, RangeFit(name, 0.0, math.inf))
            fits[name] = RangeFit(name, max(known.cut_off, share), min(known.sqnr_db, sqnr_db))
        return list(fits.values()), float(sums[:, 1].sum() / sums[:, 0].sum())

    def _sums(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """[calls, 4]: number of values, how many are cut off, sum of their squares, sum of squared errors."""
        entry = self._function.inputs[0]
        given = [tf.cast(inputs, entry.dtype), *self._function.captured_inputs]  # ids may come as floats
        with _as_written():
            ends = context.context().call_function(self._name, given, len(self._layers) * _ENDS)
        calls = [ends[start : start + _ENDS] for start in range(0, len(ends), _ENDS)]
        return np.array([_sums(layer, *map(np.asarray, each)) for layer, each in zip(self._layers, calls, strict=True)])


def _places(
    model: tf_keras.Model, definition: function_pb2.FunctionDef, captured: Sequence[Any]
) -> Iterator[tuple[RangeLayer, Any]]:
    """Each call of a range's layer, and its FakeQuant node in the function."""
    arguments = [argument.name for argument in definition.signature.input_arg]  # the captured ones come last
    held = dict(zip(reversed(arguments), map(id, reversed(captured)), strict=False))
    read = {f"{node.name}:value:0": node.input[0] for node in definition.node_def if node.op == "ReadVariableOp"}
    nodes: dict[int | None, list[Any]] = {}  # by the variable that holds the lower end
    for node in definition.node_def:
        if node.op == "FakeQuantWithMinMaxVars":
            nodes.setdefault(held.get(read.get(node.input[1], "")), []).append(node)
    for layer in model.layers:
        if isinstance(layer, RangeLayer):
            yield from ((layer, node) for node in nodes.get(id(layer.quantizer_vars["min_var"].handle), []))


def _register(definition: function_pb2.FunctionDef, quantizers: Sequence[Any]) -> bytes:
    """Make the ends of these nodes the outputs of the function: what was traced is not traced again.

    Returns:
        The name that it can be called by from now on.
    """
    signature = definition.signature
    signature.name += "_measured"
    for kept in (signature.output_arg, signature.control_output, definition.ret, definition.control_ret):
        kept.clear()
    ends = [end for node in quantizers for end in (*node.input[: _ENDS - 1], f"{node.name}:outputs:0")]
    for place, end in enumerate(ends):
        signature.output_arg.add(name=f"end_{place}", type=types_pb2.DT_FLOAT)
        definition.ret[f"end_{place}"] = end
    context.context().add_function_def(definition)
    return signature.name.encode()


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


def _sums(layer: RangeLayer, values: NDArray, low: NDArray, high: NDArray, rounded: NDArray) -> tuple[float, ...]:
    half = (high - low) / (2.0 * (2**layer.quantizer.bits - 1))
    outside = np.count_nonzero(values < low - half) + np.count_nonzero(values > high + half)
    flat, error = values.reshape(-1), (rounded - values).reshape(-1)
    return values.size, outside, flat @ flat, error @ error


def _db(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
