"""ResNet-8, the image classification model of MLPerf Tiny (Banbury et al. 2021, arXiv:2106.07597).

At alpha 1, 32x32x3 and 10 classes it has the 78,666 parameters of the published one.
"""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.models.blocks import add_classifier, batch_norm, bn_relu, check_image_shape, scale_channels

STACKS = ((16, 1), (32, 2), (64, 2))  # channels and stride of each residual stack


def _conv(x: tf.Tensor, channels: int, size: int, stride: int, name: str) -> tf.Tensor:
    return layers.Conv2D(
        channels, size, strides=stride, padding="same", kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)


def _stack(x: tf.Tensor, config: ModelConfig, channels: int, stride: int, name: str) -> tf.Tensor:
    branch = bn_relu(_conv(x, channels, 3, stride, f"{name}_first"), config, f"{name}_first")
    branch = batch_norm(_conv(branch, channels, 3, 1, f"{name}_second"), config, f"{name}_second_bn")
    if stride != 1 or x.shape[-1] != channels:
        x = _conv(x, channels, 1, stride, f"{name}_shortcut")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, branch]))


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Images `[N, *input_shape]` to probabilities `[N, classes]`."""
    check_image_shape("resnet8", input_shape)
    inputs = layers.Input(input_shape, name="image")
    x = bn_relu(_conv(inputs, scale_channels(16, config.alpha), 3, 1, "stem"), config, "stem")
    for number, (channels, stride) in enumerate(STACKS, start=1):
        x = _stack(x, config, scale_channels(channels, config.alpha), stride, f"stack{number}")
    return tf_keras.Model(inputs, add_classifier(x, classes, config.dropout), name="resnet8")
