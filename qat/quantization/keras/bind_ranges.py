"""Which range each layer of a canonical model reads and writes, as the layers get them."""

from __future__ import annotations

from collections.abc import Iterator

import tf_keras

from qat.quantization.keras.holder import RangedHolder
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.op import OF_LOGITS, Op
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.training_layers import InTraining
from qat.quantization.keras.wrapper import CanonicalWrapper, TableScale

ABOVE_ZERO = ("log", "rsqrt", "sqrt")  # ops that are defined there alone
MOVES = ("identity", "reshape", "transpose", "strided_slice", "resize_bilinear", "resize_nearest")


def bind_ranges(model: tf_keras.Model) -> None:
    """Tell each layer on whose scales its inputs come and its output goes, as the file's kernels are told."""
    ranges = {layer.name: layer for layer in model.layers if isinstance(layer, RangeLayer)}
    wrappers = [layer for layer in model.layers if isinstance(layer, CanonicalWrapper)]
    tables = {layer.layer.name: TableScale(layer) for layer in wrappers if _is_embedding(layer.layer)}
    scales = tables | ranges
    inputs = {id(tensor) for tensor in model.inputs}
    read_by_a_loss = set(_ranges_of_probabilities(model))
    normalizes = any(map(_may_normalize, model.layers))
    for layer in ranges.values():
        layer.of_probabilities = layer.name in read_by_a_loss
        layer.above_zero = layer.calls == 1 and _only_above_zero(model, layer)
        layer.entry = any(id(tensor) in inputs for node in layer.inbound_nodes for tensor in node.keras_inputs)
        layer.quantizer.settled = layer.entry or not normalizes
    for layer in model.layers:
        inner = layer.layer if isinstance(layer, CanonicalWrapper) else layer
        if isinstance(inner, RangedHolder):
            inner.bind(scales, ranges)
    object.__setattr__(model, "bound", True)


def _may_normalize(layer: tf_keras.layers.Layer) -> bool:
    """Whether the layer computes otherwise in training than at inference, as by the statistics of the batch."""
    inner = layer.layer if isinstance(layer, CanonicalWrapper) else layer
    if isinstance(inner, Linear):
        return bool(inner.norm and inner.norm["acts"])
    return isinstance(inner, InTraining) and inner.program is not None  # Keras' own, as Dropout, do not


def _ranges_of_probabilities(model: tf_keras.Model) -> Iterator[str]:
    """Range layers between a softmax or a sigmoid and an output of the model: a loss takes the logarithm of these."""
    for output in model.outputs:
        passed: list[str] = []
        layer, number, _ = output._keras_history
        inner = getattr(layer, "layer", layer)
        while isinstance(inner, RangeLayer) or (isinstance(inner, Op) and inner.op in MOVES):
            if isinstance(inner, RangeLayer):
                passed.append(layer.name)
            layer, number, _ = layer.inbound_nodes[number].keras_inputs[0]._keras_history
            inner = getattr(layer, "layer", layer)
        if isinstance(inner, Op) and inner.op in OF_LOGITS:
            yield from passed


def _only_above_zero(model: tf_keras.Model, layer: tf_keras.layers.Layer) -> bool:
    """Whether nothing but roots and logarithms reads what it makes, be it moved on the way: what is below 0 there is an
    error of rounding, as of a variance that is computed as E[x^2] - E[x]^2."""
    readers = [node.outbound_layer for node in layer.outbound_nodes]
    is_output = any(tensor._keras_history[0] is layer for tensor in model.outputs)
    return bool(readers) and not is_output and all(_takes_above_zero(model, each) for each in readers)


def _takes_above_zero(model: tf_keras.Model, reader: tf_keras.layers.Layer) -> bool:
    if not isinstance(reader, Op):
        return False
    return reader.op in ABOVE_ZERO or (reader.op in MOVES and _only_above_zero(model, reader))


def _is_embedding(layer: tf_keras.layers.Layer) -> bool:
    return isinstance(layer, Linear) and layer.kind == "embedding"
