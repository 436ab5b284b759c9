"""DS-CNN, the keyword spotting model of MLPerf Tiny (Zhang et al. 2017, arXiv:1711.07128, its small variant).

At alpha 1, 49x10x1 inputs (frames x MFCCs) and 12 classes it has the 24,908 parameters of the published one.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.errors import ConfigError
from qat.models.blocks import add_classifier, bn_relu, check_image_shape, scale_channels

CHANNELS = 64
BLOCKS = 4


def _block(x: tf.Tensor, config: ModelConfig, channels: int, name: str) -> tf.Tensor:
    x = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(x)
    x = bn_relu(x, config, f"{name}_depthwise")
    x = layers.Conv2D(channels, 1, padding="same", name=f"{name}_pointwise")(x)
    return bn_relu(x, config, f"{name}_pointwise")


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Maps `[N, time, frequency, 1]` (or images) to probabilities `[N, classes]`.

    `dropout` stands after the stem, and twice as much of it before the last layer (the reference: 0.2 and 0.4).
    """
    check_image_shape("ds_cnn", input_shape)
    if config.dropout >= 0.5:
        raise ConfigError(
            f"model.dropout={config.dropout}: ds_cnn uses it twice over before its end; expected below 0.5"
        )
    channels = scale_channels(CHANNELS, config.alpha)
    inputs = layers.Input(input_shape, name="features")
    x = layers.Conv2D(channels, (10, 4), strides=2, padding="same", name="stem_conv")(inputs)
    x = bn_relu(x, config, "stem")
    if config.dropout > 0:
        x = layers.Dropout(config.dropout, name="stem_dropout")(x)
    for number in range(1, BLOCKS + 1):
        x = _block(x, config, channels, f"block{number}")
    return tf_keras.Model(inputs, add_classifier(x, classes, 2 * config.dropout), name="ds_cnn")
