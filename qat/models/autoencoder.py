"""The autoencoder for anomaly detection of MLPerf Tiny: Dense, BatchNorm, ReLU nine times, and a linear Dense.

It learns to give back class 0, the normal one; the mean squared error of a sample is its anomaly score, and the metric
is the AUC of that score. With 640 inputs (5 frames of 128 log-mel bands) and alpha 1 it has 269,992 parameters.
"""

from __future__ import annotations

import math

import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.models.blocks import bn_relu, scale_channels

UNITS = (128, 128, 128, 128, 8, 128, 128, 128, 128)
BOTTLENECK = 8  # not scaled by alpha


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """`[N, *input_shape]` to its reconstruction, of the same shape; `classes` plays no part."""
    inputs = x = layers.Input(input_shape, name="features")
    if len(input_shape) > 1:
        x = layers.Flatten(name="flat")(x)
    for number, units in enumerate(UNITS, start=1):
        x = layers.Dense(units if units == BOTTLENECK else scale_channels(units, config.alpha), name=f"dense{number}")(
            x
        )
        x = bn_relu(x, config, f"dense{number}")
    x = layers.Dense(math.prod(input_shape), name="reconstruction")(x)
    if len(input_shape) > 1:
        x = layers.Reshape(input_shape, name="reshaped")(x)
    return tf_keras.Model(inputs, x, name="autoencoder")
