"""The layers with which a model begins, as far as they only scale, crop or turn its input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tf_keras.src.engine.functional import Functional
from tf_keras.src.layers.core.tf_op_layer import SlicingOpLambda

_layers = tf_keras.layers
SCALING = (_layers.Rescaling, _layers.Normalization)
PASSING = (
    *(_layers.InputLayer, _layers.Resizing, _layers.CenterCrop, _layers.ZeroPadding2D, _layers.Cropping2D),
    *(_layers.Dropout, _layers.GaussianNoise, _layers.Reshape, _layers.Permute, _layers.Identity, SlicingOpLambda),
    *(_layers.RandomFlip, _layers.RandomRotation, _layers.RandomZoom, _layers.RandomTranslation, _layers.RandomCrop),
    *(_layers.RandomContrast, _layers.RandomBrightness, _layers.RandomHeight, _layers.RandomWidth),
)
KERNELS = (
    *(_layers.Dense, _layers.Conv1D, _layers.Conv2D, _layers.Conv3D, _layers.DepthwiseConv1D, _layers.DepthwiseConv2D),
    *(_layers.SeparableConv1D, _layers.SeparableConv2D),
)
ARITHMETIC = (  # ops that `preprocess_input` and plain operators leave in a model
    *("math.truediv", "math.divide", "math.multiply", "math.subtract", "math.add", "nn.bias_add"),
    *("__operators__.add", "__operators__.sub", "__operators__.mul", "__operators__.truediv"),
)


def scaled_by_first_layers(model: tf_keras.Model, inputs: NDArray[np.float32]) -> tuple[list[str], NDArray] | None:
    """Names of the leading layers that scale, and what they make of `inputs`; None where there are none."""
    names, values = [], inputs
    for layer in _in_order(model):
        scales = isinstance(layer, SCALING) or getattr(layer, "symbol", None) in ARITHMETIC
        node = layer.inbound_nodes[0] if layer.inbound_nodes else None
        if not (scales or isinstance(layer, PASSING)) or node is None or len(node.flat_input_ids) > 1:
            break
        if node.flat_input_ids:
            arguments, options = node.map_arguments({node.flat_input_ids[0]: [np.asarray(values)]})
            values = layer(*arguments, **options)
        if scales:
            names.append(layer.name)
    return (names, np.asarray(values)) if names else None


def _in_order(model: tf_keras.Model) -> Iterator[tf_keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, Functional):  # Sequential is one too
            yield from _in_order(layer)
        else:
            yield layer


def multiplied_inputs(model: tf_keras.Model) -> dict[int, str]:
    """Places in `model.inputs` of those that kernels multiply as they come, each with the name of the first layer.

    What a layer scales, normalizes or looks up first is none of them, nor what a layer of another kind reads.
    """
    if not isinstance(model, Functional):
        return {}
    readers = {
        place: [each for each in _readers(model, entry) if not isinstance(each, int)]
        for place, entry in enumerate(model.inputs)
    }
    return {place: found[0].name for place, found in readers.items() if found and all(map(_multiplies, found))}


def _multiplies(layer: tf_keras.layers.Layer) -> bool:
    layer = layer.layer if isinstance(layer, _layers.TimeDistributed) else layer
    return isinstance(layer, KERNELS)


def _readers(model: Functional, tensor: Any) -> Iterator[tf_keras.layers.Layer | int]:
    """The first layers that do more with a tensor than pass it on; the place of the output that it becomes unread."""
    yield from (place for place, output in enumerate(model.outputs) if output is tensor)
    for layer, node in ((each, node) for each in model.layers for node in each.inbound_nodes):
        outputs = tf.nest.flatten(node.outputs)
        for place, entry in enumerate(node.keras_inputs):
            if entry is not tensor:
                continue
            if isinstance(layer, Functional):
                inside = list(_readers(layer, layer.inputs[place]))
            else:
                inside = list(range(len(outputs))) if isinstance(layer, (*PASSING, _layers.Flatten)) else [layer]
            for found in inside:
                yield from _readers(model, outputs[found]) if isinstance(found, int) else [found]


def is_untrained(model: tf_keras.Model) -> bool:
    """Whether every bias, and whatever else begins as 0 or 1, still is: what no training leaves."""
    vectors = [weight.numpy() for weight in model.trainable_weights if len(weight.shape) == 1]
    return bool(vectors) and all(np.isin(vector, (0, 1)).all() for vector in vectors)
