"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381): inverted residuals with linear bottlenecks.

With alpha 1 and the standard strides it has the parameters of `tf_keras.applications.MobileNetV2`. As with V1, small
images want `model.strides` with fewer twos.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.models.blocks import add_classifier, batch_norm, bn_relu, check_image_shape, scale_channels

STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""Expansion, channels and number of blocks of each stage."""

STANDARD_STRIDES = (2, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)  # the stem, then the 17 blocks
HEAD_CHANNELS = 1280


def round_to_multiple_of_8(channels: float) -> int:
    """Round to the nearest multiple of 8, at least 8 and at most a tenth below (as the reference's `_make_divisible`).

    >>> round_to_multiple_of_8(24 * 0.35), round_to_multiple_of_8(32 * 0.35), round_to_multiple_of_8(96 * 0.35)
    (8, 16, 32)
    """
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _block(x: tf.Tensor, config: ModelConfig, expansion: int, channels: int, stride: int, name: str) -> tf.Tensor:
    shortcut = x
    if expansion != 1:
        x = layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False, name=f"{name}_expand")(x)
        x = bn_relu(x, config, f"{name}_expand", ceiling=6.0)
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = bn_relu(x, config, f"{name}_depthwise", ceiling=6.0)
    x = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = batch_norm(x, config, f"{name}_project_bn")
    if stride == 1 and shortcut.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Images `[N, *input_shape]` to probabilities `[N, classes]`."""
    check_image_shape("mobilenet_v2", input_shape)
    scale_channels(min(channels for _, channels, _ in STAGES), config.alpha)  # refuses an alpha that leaves nothing
    stem_stride, *block_strides = config.strides or STANDARD_STRIDES
    inputs = layers.Input(input_shape, name="image")
    stem = round_to_multiple_of_8(32 * config.alpha)
    x = layers.Conv2D(stem, 3, strides=stem_stride, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = bn_relu(x, config, "stem", ceiling=6.0)
    blocks = [(expansion, channels) for expansion, channels, repeats in STAGES for _ in range(repeats)]
    for number, ((expansion, channels), stride) in enumerate(zip(blocks, block_strides, strict=True), start=1):
        x = _block(x, config, expansion, round_to_multiple_of_8(channels * config.alpha), stride, f"block{number}")
    head = round_to_multiple_of_8(HEAD_CHANNELS * config.alpha) if config.alpha > 1 else HEAD_CHANNELS
    x = layers.Conv2D(head, 1, use_bias=False, name="head_conv")(x)
    x = bn_relu(x, config, "head", ceiling=6.0)
    return tf_keras.Model(inputs, add_classifier(x, classes, config.dropout), name="mobilenet_v2")
