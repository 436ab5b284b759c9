"""MobileNetV1 (Howard et al. 2017, arXiv:1704.04861): depthwise separable convolutions.

With alpha 1 and the standard strides it has the parameters of `tf_keras.applications.MobileNet`. The standard strides
shrink an image 32 times, which leaves one pixel of a 32x32 image: small images want `model.strides` with fewer twos.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.models.blocks import add_classifier, bn_relu, check_image_shape, scale_channels

STEM_CHANNELS = 32
BLOCK_CHANNELS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
STANDARD_STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # the stem, then the 13 blocks


def _block(x: tf.Tensor, config: ModelConfig, channels: int, stride: int, name: str) -> tf.Tensor:
    x = layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="same",
        depth_multiplier=config.depth_multiplier,
        use_bias=False,
        name=f"{name}_depthwise",
    )(x)
    x = bn_relu(x, config, f"{name}_depthwise", ceiling=6.0)
    x = layers.Conv2D(channels, 1, padding="same", use_bias=False, name=f"{name}_pointwise")(x)
    return bn_relu(x, config, f"{name}_pointwise", ceiling=6.0)


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Images `[N, *input_shape]` to probabilities `[N, classes]`."""
    check_image_shape("mobilenet", input_shape)
    stem_stride, *block_strides = config.strides or STANDARD_STRIDES
    inputs = layers.Input(input_shape, name="image")
    channels = scale_channels(STEM_CHANNELS, config.alpha)
    x = layers.Conv2D(channels, 3, strides=stem_stride, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = bn_relu(x, config, "stem", ceiling=6.0)
    for number, (channels, stride) in enumerate(zip(BLOCK_CHANNELS, block_strides, strict=True), start=1):
        x = _block(x, config, scale_channels(channels, config.alpha), stride, f"block{number}")
    return tf_keras.Model(inputs, add_classifier(x, classes, config.dropout), name="mobilenet")
