"""The layers with which a model begins, as far as they only scale, crop or turn its input."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
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


def is_untrained(model: tf_keras.Model) -> bool:
    """Whether every bias, and whatever else begins as 0 or 1, still is: what no training leaves."""
    vectors = [weight.numpy() for weight in model.trainable_weights if len(weight.shape) == 1]
    return bool(vectors) and all(np.isin(vector, (0, 1)).all() for vector in vectors)
