"""The few blocks that all families are made of: BatchNorm and ReLU after a layer, the classifier's head, widths."""

from __future__ import annotations

import tensorflow as tf
from tf_keras import layers

from qat.config import ModelConfig
from qat.errors import ConfigError, ModelError


def width(channels: int, alpha: float) -> int:
    """Channels after the width multiplier, rounded down as MobileNetV1 does it.

    >>> width(64, 0.25), width(32, 0.7)
    (16, 22)
    """
    scaled = int(channels * alpha)
    if scaled < 1:
        raise ConfigError(f"model.alpha={alpha}: leaves none of {channels} channels; expected at least {1 / channels}")
    return scaled


def batch_norm(x: tf.Tensor, config: ModelConfig, name: str) -> tf.Tensor:
    """BatchNormalization with the config's momentum and epsilon."""
    return layers.BatchNormalization(momentum=config.bn_momentum, epsilon=config.bn_epsilon, name=name)(x)


def bn_relu(x: tf.Tensor, config: ModelConfig, name: str, ceiling: float | None = None) -> tf.Tensor:
    """BatchNorm, then ReLU with an optional ceiling (6 for the MobileNets): what TFLite folds into the layer before."""
    return layers.ReLU(ceiling, name=f"{name}_relu")(batch_norm(x, config, f"{name}_bn"))


def classifier(x: tf.Tensor, classes: int, dropout: float = 0.0) -> tf.Tensor:
    """Global average pooling if `x` is a map `[N, h, w, c]`; dropout; `logits`; softmax `probabilities`."""
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout > 0:
        x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(classes, name="logits")(x)
    return layers.Softmax(name="probabilities")(x)


def images_only(family: str, input_shape: tuple[int, ...], smallest: int = 4) -> None:
    """Refuse inputs that are no maps `(height, width, channels)`, or so small that filters would see padding alone."""
    if len(input_shape) == 3 and min(input_shape[:2]) >= smallest:
        return
    raise ModelError(
        f"model={family} takes images (height, width, channels) of at least {smallest}x{smallest}, "
        f"but the data has shape {input_shape}. Choose another model or set data.image_size"
    )
