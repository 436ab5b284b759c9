"""The calls of a quantization-aware model's layers, in order, with nested models flattened."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src.engine.base_layer import AddLoss, AddMetric

from qat.errors import ModelError
from qat.models.keras_types import KerasModel
from qat.quantization.keras.arithmetic import integer_arithmetic
from qat.quantization.keras.bind_ranges import bind_ranges
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.lstm import Lstm
from qat.quantization.keras.model import QatModel
from qat.quantization.keras.observing import NOT_IN_FILE
from qat.quantization.keras.op import Op
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.training_layers import Added, DropoutMask, Dropped, InTraining
from qat.quantization.keras.wrapper import CanonicalWrapper

PASSED_ON = (
    InTraining,
    DropoutMask,
    Dropped,
    Added,
    AddLoss,
    AddMetric,
    tf_keras.layers.Dropout,
    tf_keras.layers.ActivityRegularization,
)
QAT_LAYERS = (RangeLayer, CanonicalWrapper, Linear, Op, Lstm)
KNOWN_LAYERS = (*QAT_LAYERS, *PASSED_ON, tf_keras.layers.InputLayer)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer: `inputs` and `outputs` are keys of tensors, `keras_outputs` their Keras tensors."""

    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    keras_outputs: tuple[Any, ...]
    call_index: int

    @property
    def inner(self) -> Any:
        """The layer in a wrapper, or the layer itself."""
        return self.layer.layer if isinstance(self.layer, CanonicalWrapper) else self.layer


@dataclass(frozen=True, eq=False)
class Network:
    """All calls. A layer that passes a tensor on is no call: its output has the key of its input."""

    name: str
    inputs: tuple[Any, ...]
    input_keys: tuple[int, ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]

    @contextlib.contextmanager
    def one_pass(self) -> Iterator[None]:
        """Inside, shared expressions of weights are computed once."""
        tables: set[Any] = {getattr(call.inner, "variables_of_model", None) for call in self.calls} - {None}
        with contextlib.ExitStack() as stack:
            stack.enter_context(integer_arithmetic())
            for table in tables:
                stack.enter_context(table.one_pass())
            yield

    def read_counts(self) -> Counter[int]:
        """How often each tensor is read, by calls and as an output."""
        return Counter([key for call in self.calls for key in call.inputs] + list(self.outputs))


def is_lowerable(model: KerasModel) -> bool:
    """Whether a model consists of the layers of `qat.quantization`, and quantizes."""
    if not isinstance(model, tf_keras.Model) or not hasattr(model, "_nodes_by_depth"):
        return False
    layers = list(_leaves(model))
    ranges = [layer for layer in layers if isinstance(layer, RangeLayer)]
    return all(isinstance(layer, KNOWN_LAYERS) for layer in layers) and any(layer.quantizer.enabled for layer in ranges)


def refuse_unknown_layers(model: KerasModel) -> None:
    """Refuse a model of `quantize_model` to which other layers were added; any other model passes.

    Raises:
        ModelError: there is such a layer, which is named.
    """
    if not isinstance(model, QatModel) or model.float_variables is None or not model.qat_config["fake_quantization"]:
        return
    for layer in _leaves(model):
        if not isinstance(layer, KNOWN_LAYERS):
            raise ModelError(
                f"layer {layer.name!r} ({type(layer).__name__}) of a QAT model cannot be written into its file: put it "
                "into the float model before quantize_model, or build a model around the QAT model and convert that "
                "with allow_float=True"
            )


def _leaves(model: tf_keras.Model) -> Iterator[Any]:
    for node in _needed_nodes(model):
        if hasattr(node.layer, "_nodes_by_depth"):
            yield from _leaves(node.layer)
        else:
            yield node.layer


def _needed_nodes(model: tf_keras.Model) -> list[Any]:
    """The nodes that the outputs depend on, in call order; added losses and metrics are left out."""
    inputs, needed, pending = set(map(id, model.inputs)), set(), list(model.outputs)
    while pending:
        tensor = pending.pop()
        layer, number, _ = tensor._keras_history
        node = layer._inbound_nodes[number]
        if id(node) not in needed:
            needed.add(id(node))
            pending += [] if id(tensor) in inputs else tf.nest.flatten(node.keras_inputs)
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth] if id(node) in needed]


def read_network(model: tf_keras.Model) -> Network:
    """The network of a model for which `is_lowerable` holds."""
    reader, input_keys = _NetworkReader(len(model.inputs)), tuple(range(len(model.inputs)))
    outputs = reader.read(model, input_keys)
    return Network(model.name.replace("/", "."), tuple(model.inputs), input_keys, tuple(reader.calls), tuple(outputs))


class _NetworkReader:
    """Reads `calls` one after another; `count` is the number of tensors that have a key."""

    def __init__(self, count: int) -> None:
        self.calls: list[Call] = []
        self.count = count

    def read(self, model: tf_keras.Model, input_keys: tuple[int, ...]) -> list[int]:
        """Read the calls of a model.

        Args:
            model: a Keras model, the outer one or a nested one.
            input_keys: the keys of its inputs, integers from 0 in the order of the tensors.

        Returns:
            The keys of its outputs, integers that continue those of the inputs.
        """
        if isinstance(model, QatModel) and not model.bound:
            bind_ranges(model)
        keys = dict(zip(map(id, model.inputs), input_keys, strict=True))
        for node in _needed_nodes(model):
            if not isinstance(node.layer, tf_keras.layers.InputLayer):
                inputs = tuple(keys[id(tensor)] for tensor in tf.nest.flatten(node.keras_inputs))
                keras_outputs = tf.nest.flatten(node.outputs)
                keys.update(zip(map(id, keras_outputs), self._call(node, inputs, keras_outputs), strict=True))
        return [keys[id(tensor)] for tensor in model.outputs]

    def _call(self, node: Any, inputs: tuple[int, ...], keras_outputs: list[Any]) -> list[int]:
        layer = node.layer
        if hasattr(layer, "_nodes_by_depth"):
            return self.read(layer, inputs)
        if isinstance(layer, PASSED_ON) or (isinstance(layer, Op) and layer.op in NOT_IN_FILE):
            return list(inputs[: len(keras_outputs)])
        outputs = tuple(range(self.count, self.count + len(keras_outputs)))
        self.count += len(keras_outputs)
        call_index = int(node.call_kwargs.get("place", 0))
        self.calls.append(Call(layer, inputs, outputs, tuple(keras_outputs), call_index))
        return list(outputs)
