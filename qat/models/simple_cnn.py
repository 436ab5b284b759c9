"""Two convolutions, each with a pooling: a very small model for trying things out quickly."""

from __future__ import annotations

import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.models.blocks import add_classifier, bn_relu, check_image_shape, scale_channels

CHANNELS = (16, 32)


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Images `[N, *input_shape]` to probabilities `[N, classes]`."""
    check_image_shape("simple_cnn", input_shape)
    inputs = x = layers.Input(input_shape, name="image")
    for number, channels in enumerate(CHANNELS, start=1):
        x = layers.Conv2D(
            scale_channels(channels, config.alpha), 3, padding="same", use_bias=False, name=f"block{number}_conv"
        )(x)
        x = bn_relu(x, config, f"block{number}")
        x = layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
    return tf_keras.Model(inputs, add_classifier(x, classes, config.dropout), name="simple_cnn")
