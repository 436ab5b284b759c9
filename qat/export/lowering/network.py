"""The calls of a quantization-aware model's layers, in order, with models inside models opened up."""

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
from qat.quantization.keras.layers import Linear, Op, RangeLayer, integer_arithmetic
from qat.quantization.keras.lstm import Lstm
from qat.quantization.keras.model import QatModel, bind_ranges
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
PASSED_OPS = ("custom_gradient", "dropped", "identity", "in_training", "stop_gradient")
OURS = (RangeLayer, CanonicalWrapper, Linear, Op, Lstm)
KNOWN = (*OURS, *PASSED_ON, tf_keras.layers.InputLayer)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer: `inputs` and `outputs` are keys of tensors, `kept` the Keras tensors of the outputs."""

    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    kept: tuple[Any, ...]
    place: int

    @property
    def inner(self) -> Any:
        """The layer in a wrapper, or the layer itself."""
        return self.layer.layer if isinstance(self.layer, CanonicalWrapper) else self.layer


@dataclass(frozen=True, eq=False)
class Network:
    """All calls, and who reads what. What passes a tensor on is no call, but another key for it."""

    name: str
    inputs: tuple[Any, ...]
    entries: tuple[int, ...]
    calls: tuple[Call, ...]
    outputs: tuple[int, ...]

    @contextlib.contextmanager
    def one_pass(self) -> Iterator[None]:
        """Inside, what weights are computed from is computed once."""
        tables: set[Any] = {getattr(call.inner, "variables_of_model", None) for call in self.calls} - {None}
        with contextlib.ExitStack() as stack:
            stack.enter_context(integer_arithmetic())
            for table in tables:
                stack.enter_context(table.one_pass())
            yield

    def read_counts(self) -> Counter[int]:
        """How often each tensor is read, by calls and as an output."""
        return Counter([key for call in self.calls for key in call.inputs] + list(self.outputs))


def is_lowerable(model: Any) -> bool:
    """Whether a model consists of the layers of `qat.quantization`, and quantizes."""
    if not isinstance(model, tf_keras.Model) or not hasattr(model, "_nodes_by_depth"):
        return False
    layers = list(_leaves(model))
    ranges = [layer for layer in layers if isinstance(layer, RangeLayer)]
    return all(isinstance(layer, KNOWN) for layer in layers) and any(layer.quantizer.enabled for layer in ranges)


def refuse_unknown_layers(model: Any) -> None:
    """Nothing, but for a model of `quantize_model` with a layer that is none of its own.

    Raises:
        ModelError: it has one, which is named.
    """
    if not isinstance(model, QatModel) or model.float_variables is None or not model.told["fake_quantization"]:
        return
    for layer in _leaves(model):
        if not isinstance(layer, KNOWN):
            raise ModelError(
                f"layer {layer.name!r} ({type(layer).__name__}) of a QAT model has no place in its file: put it into "
                "the float model before quantize_model, or build a model around the QAT model and convert that with "
                "allow_float=True"
            )


def _leaves(model: tf_keras.Model) -> Iterator[Any]:
    for node in _needed_nodes(model):
        if hasattr(node.layer, "_nodes_by_depth"):
            yield from _leaves(node.layer)
        else:
            yield node.layer


def _needed_nodes(model: tf_keras.Model) -> list[Any]:
    """The nodes that the outputs depend on, in the order of the calls: a loss or metric added to the model is none."""
    entries, needed, waiting = set(map(id, model.inputs)), set(), list(model.outputs)
    while waiting:
        tensor = waiting.pop()
        layer, number, _ = tensor._keras_history
        node = layer._inbound_nodes[number]
        if id(node) not in needed:
            needed.add(id(node))
            waiting += [] if id(tensor) in entries else tf.nest.flatten(node.keras_inputs)
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth] if id(node) in needed]


def read_network(model: tf_keras.Model) -> Network:
    """The network of a model for which `is_lowerable` holds."""
    reading, entries = _Reading(len(model.inputs)), tuple(range(len(model.inputs)))
    outputs = reading.model(model, entries)
    return Network(model.name.replace("/", "."), tuple(model.inputs), entries, tuple(reading.calls), tuple(outputs))


class _Reading:
    """`calls` so far; `count` is how many tensors have a key."""

    def __init__(self, count: int) -> None:
        self.calls: list[Call] = []
        self.count = count

    def model(self, model: tf_keras.Model, entries: tuple[int, ...]) -> list[int]:
        """Read the calls of a model that is called on tensors with these keys; the keys of what it gives."""
        if isinstance(model, QatModel) and not model.bound:
            bind_ranges(model)
        keys = dict(zip(map(id, model.inputs), entries, strict=True))
        for node in _needed_nodes(model):
            if not isinstance(node.layer, tf_keras.layers.InputLayer):
                given = tuple(keys[id(tensor)] for tensor in tf.nest.flatten(node.keras_inputs))
                kept = tf.nest.flatten(node.outputs)
                keys.update(zip(map(id, kept), self._call(node, given, kept), strict=True))
        return [keys[id(tensor)] for tensor in model.outputs]

    def _call(self, node: Any, given: tuple[int, ...], kept: list[Any]) -> list[int]:
        layer = node.layer
        if hasattr(layer, "_nodes_by_depth"):
            return self.model(layer, given)
        if isinstance(layer, PASSED_ON) or (isinstance(layer, Op) and layer.op in PASSED_OPS):
            return list(given[: len(kept)])
        outputs = tuple(range(self.count, self.count + len(kept)))
        self.count += len(kept)
        place = int(node.call_kwargs.get("place", 0))
        self.calls.append(Call(layer, given, outputs, tuple(kept), place))
        return list(outputs)
