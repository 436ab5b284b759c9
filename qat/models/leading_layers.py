"""The first layers of a model, as far as they only scale, crop or transpose its input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tf_keras.src.engine.functional import Functional
from tf_keras.src.layers.core.tf_op_layer import SlicingOpLambda

from qat.models import leading_layers_keras3
from qat.models.keras_types import KerasModel, KerasTensor
from qat.models.which_keras import is_keras3

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


def apply_scaling_layers(model: KerasModel, inputs: NDArray[np.float32]) -> tuple[list[str], NDArray] | None:
    """Run the leading layers of a model that scale its input.

    Args:
        model: functional or sequential.
        inputs: `[N, ...]` float32, of its first input.

    Returns:
        Names of the layers that scale, and their output `[N, ...]` float32; None where there are none.
    """
    if is_keras3(model):
        return leading_layers_keras3.apply_scaling_layers(model, inputs)
    names, values = [], inputs
    for layer in _flatten_layers(model):
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


def _flatten_layers(model: tf_keras.Model) -> Iterator[tf_keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, Functional):  # Sequential is one too
            yield from _flatten_layers(layer)
        else:
            yield layer


def find_unscaled_inputs(model: KerasModel) -> dict[int, str]:
    """Find inputs that kernels multiply unscaled: index in `model.inputs` to the name of the first such layer.

    An input that a layer first scales, normalizes or looks up is none of them, nor one that another layer reads too.
    """
    if is_keras3(model):
        return leading_layers_keras3.find_unscaled_inputs(model)
    if not isinstance(model, Functional):
        return {}
    consumers = {
        index: [each for each in _find_consumers(model, entry) if not isinstance(each, int)]
        for index, entry in enumerate(model.inputs)
    }
    return {
        index: consumers_of_input[0].name
        for index, consumers_of_input in consumers.items()
        if consumers_of_input and all(map(_is_kernel, consumers_of_input))
    }


def _is_kernel(layer: tf_keras.layers.Layer) -> bool:
    layer = layer.layer if isinstance(layer, _layers.TimeDistributed) else layer
    return isinstance(layer, KERNELS)


def _find_consumers(model: Functional, tensor: KerasTensor) -> Iterator[tf_keras.layers.Layer | int]:
    """The first layers that compute with a tensor; the index of a model output that it reaches without computation."""
    yield from (index for index, output in enumerate(model.outputs) if output is tensor)
    for layer, node in ((each, node) for each in model.layers for node in each.inbound_nodes):
        outputs = tf.nest.flatten(node.outputs)
        for index, entry in enumerate(node.keras_inputs):
            if entry is not tensor:
                continue
            if isinstance(layer, Functional):
                inside = list(_find_consumers(layer, layer.inputs[index]))
            else:
                inside = list(range(len(outputs))) if isinstance(layer, (*PASSING, _layers.Flatten)) else [layer]
            for consumer in inside:
                yield from _find_consumers(model, outputs[consumer]) if isinstance(consumer, int) else [consumer]


def is_untrained(model: KerasModel) -> bool:
    """Whether every trainable vector (biases, BatchNorm) still has its initial 0s and 1s, as never after training."""
    vectors = [np.asarray(weight.numpy()) for weight in model.trainable_weights if len(weight.shape) == 1]
    return bool(vectors) and all(np.isin(vector, (0, 1)).all() for vector in vectors)
