"""The blocks that all families share: BatchNorm and ReLU after a layer, the classifier's head, the width multiplier."""

from __future__ import annotations

import tensorflow as tf
from tf_keras import layers

from qat.config import ModelConfig
from qat.errors import ConfigError, ModelError


def scale_channels(channels: int, alpha: float) -> int:
    """Apply the width multiplier, rounded down as in MobileNetV1 (Howard et al. 2017, arXiv:1704.04861).

    >>> scale_channels(64, 0.25), scale_channels(32, 0.7)
    (16, 22)

    Args:
        channels: number of the layer's channels at alpha 1.
        alpha: the width multiplier, a factor above 0.

    Returns:
        Number of channels, at least 1.

    Raises:
        ConfigError: no channel is left.
    """
    scaled = int(channels * alpha)
    if scaled < 1:
        raise ConfigError(f"model.alpha={alpha}: leaves none of {channels} channels; expected at least {1 / channels}")
    return scaled


def batch_norm(x: tf.Tensor, config: ModelConfig, name: str) -> tf.Tensor:
    """Add a BatchNormalization.

    Args:
        x: symbolic tensor `[N, ..., channels]`.
        config: `bn_momentum`, 0-1, and `bn_epsilon`, which is added to the variance.
        name: name of the layer to add.

    Returns:
        The layer's output, `[N, ..., channels]`.
    """
    return layers.BatchNormalization(momentum=config.bn_momentum, epsilon=config.bn_epsilon, name=name)(x)


def bn_relu(x: tf.Tensor, config: ModelConfig, name: str, ceiling: float | None = None) -> tf.Tensor:
    """Add BatchNorm and ReLU, which TFLite folds into the layer before.

    Args:
        x: symbolic tensor `[N, ..., channels]`.
        config: `bn_momentum`, 0-1, and `bn_epsilon` of the BatchNorm.
        name: name of the layer before; those added are `<name>_bn` and `<name>_relu`.
        ceiling: largest output of the ReLU, a real number, 6 for the MobileNets; None: no limit.

    Returns:
        The ReLU's output, `[N, ..., channels]`, at least 0.
    """
    return layers.ReLU(ceiling, name=f"{name}_relu")(batch_norm(x, config, f"{name}_bn"))


def add_classifier(x: tf.Tensor, classes: int, dropout: float = 0.0) -> tf.Tensor:
    """Add a classifier's head: global average pooling, dropout, `logits` and softmax `probabilities`.

    Args:
        x: symbolic tensor `[N, height, width, channels]`, or `[N, features]`, which is not pooled.
        classes: the number of classes in the data.
        dropout: share of features that training sets to 0, from 0 to below 1; 0 adds no layer.

    Returns:
        Probabilities `[N, classes]`, whose rows add up to 1.
    """
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout > 0:
        x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(classes, name="logits")(x)
    return layers.Softmax(name="probabilities")(x)


def check_image_shape(family: str, input_shape: tuple[int, ...], smallest: int = 4) -> None:
    """Refuse inputs that are no images, or so small that filters would see only padding.

    Args:
        family: name of the model family, as "mobilenet", for the message.
        input_shape: sizes of one sample, without N: (height, width, channels).
        smallest: least height and width that are accepted, in pixels.

    Raises:
        ModelError: another shape than (height, width, channels), or a smaller image.
    """
    if len(input_shape) == 3 and min(input_shape[:2]) >= smallest:
        return
    raise ModelError(
        f"model={family} takes images (height, width, channels) of at least {smallest}x{smallest}, "
        f"but the data has shape {input_shape}. Choose another model or set data.image_size"
    )
