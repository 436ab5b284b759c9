"""Factors and normalizations in front of a layer and behind it: trained as they stand."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .listing import columns_of_unlike_size, image, semantics, vector


class Affine(layers.Layer):
    """x * factor + offset, both trained; `shift=False` leaves the offset out (a layer scale)."""

    def __init__(self, start=0.5, shift=True, **options):
        super().__init__(**options)
        self.start, self.shift = start, shift

    def build(self, shape):
        start = tf_keras.initializers.Constant(self.start)
        self.factor = self.add_weight("factor", shape=shape[-1:], initializer=start)
        self.offset = self.add_weight("offset", shape=shape[-1:], initializer="zeros") if self.shift else None

    def call(self, x):
        return x * self.factor + self.offset if self.shift else x * self.factor

    def get_config(self):
        return super().get_config() | {"start": self.start, "shift": self.shift}


def _head(x, units=3):
    return layers.Dense(units, name="head")(layers.GlobalAveragePooling2D()(x))


@semantics()
def rescaling_conv():
    """Rescaling(1/255) in front of a convolution: its kernel keeps value and gradient."""
    entry = image(name="pixels")
    x = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(entry))
    return tf_keras.Model(entry, _head(x))


@semantics()
def rescaling_offset_conv_same():
    """Rescaling with an offset in front of a padded convolution and BatchNormalization."""
    entry = image(name="pixels")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(layers.Rescaling(1 / 127.5, offset=-1)(entry))
    return tf_keras.Model(entry, _head(layers.ReLU()(layers.BatchNormalization()(x))))


@semantics()
def rescaling_dense():
    """Rescaling in front of a Dense layer."""
    entry = vector(name="pixels")
    return tf_keras.Model(entry, layers.Dense(3)(layers.Rescaling(1 / 255)(entry)))


@semantics()
def division_by_lambda():
    """x / 127.5 - 1 in a Lambda layer."""
    entry = image(name="pixels")
    x = layers.Conv2D(4, 3, activation="relu")(layers.Lambda(lambda x: x / 127.5 - 1)(entry))
    return tf_keras.Model(entry, _head(x))


@semantics(inputs=columns_of_unlike_size)
def normalization_dense():
    """An adapted Normalization in front of a Dense layer: steps mean what they mean on standardised columns."""
    entry = vector()
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(1, 1, (64, 6)) * np.resize([1.0, 10.0, 100.0], 6))
    return tf_keras.Model(entry, layers.Dense(2)(layers.Dense(5, activation="relu")(norm(entry))))


@semantics()
def normalization_conv():
    """Normalization by given means and variances of each channel in front of a convolution."""
    entry = image(name="pixels")
    x = layers.Normalization(mean=[120.0, 110.0, 100.0], variance=[60.0**2, 55.0**2, 50.0**2])(entry)
    return tf_keras.Model(entry, _head(layers.Conv2D(4, 3, activation="relu")(x)))


@semantics()
def affine_before_dense():
    """A trained factor and offset in front of a Dense layer: four variables, each with its gradient."""
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(3)(Affine()(entry)))


@semantics()
def affine_behind_conv():
    """A trained factor and offset behind a convolution: neither is folded away."""
    entry = image()
    return tf_keras.Model(entry, _head(layers.ReLU()(Affine(1.5)(layers.Conv2D(4, 3)(entry)))))


@semantics()
def layer_scale_in_residual():
    """ConvNeXt's layer scale, begun at 0.01, on a residual branch."""
    entry = image()
    x = layers.Conv2D(4, 2, strides=2)(entry)
    y = Affine(0.01, shift=False)(layers.Conv2D(4, 1)(layers.LayerNormalization()(x)))
    return tf_keras.Model(entry, _head(x + y))


@semantics()
def layer_scale_at_zero():
    """A residual branch scaled by a gamma of 0: the gamma gets its gradient, the branch gets none."""
    entry = image()
    x = layers.Conv2D(4, 2, strides=2)(entry)
    return tf_keras.Model(entry, _head(x + Affine(0.0, shift=False)(layers.Conv2D(4, 1)(x))))


@semantics()
def constant_factor_behind_dense():
    """Logits by a temperature of 10: the kernel keeps its own size."""
    entry = vector()
    return tf_keras.Model(entry, layers.Softmax()(layers.Dense(4)(entry) / 10.0))


@semantics()
def constant_factor_between():
    """A constant factor for each channel between a convolution and a BatchNormalization."""
    entry = image()
    x = layers.Conv2D(4, 3, use_bias=False)(entry) * tf.constant([0.5, 1.0, 2.0, 4.0])
    return tf_keras.Model(entry, _head(layers.ReLU()(layers.BatchNormalization()(x))))


@semantics()
def norm_in_front():
    """BatchNormalization of the input: gamma, beta and moving statistics are its own."""
    entry = image()
    x = layers.Conv2D(4, 3, activation="relu")(layers.BatchNormalization(momentum=0.8)(entry))
    return tf_keras.Model(entry, _head(x))


@semantics()
def norm_of_table():
    """BatchNormalization of columns in front of Dense layers."""
    entry = vector()
    x = layers.Dense(5, activation="relu")(layers.BatchNormalization()(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.BatchNormalization()(x)))


@semantics()
def norm_before_activation_and_conv():
    """Pre-activation: a BatchNormalization that no linear layer stands in front of."""
    entry = image()
    x = layers.Conv2D(4, 3, padding="same")(entry)
    y = layers.Conv2D(4, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
    return tf_keras.Model(entry, _head(layers.Add()([x, y])))


@semantics()
def norm_behind_sum_and_pool():
    """BatchNormalization behind an Add and behind a pooling."""
    entry = image()
    x, y = (layers.Conv2D(4, 3, padding="same")(entry) for _ in range(2))
    x = layers.MaxPooling2D()(layers.BatchNormalization()(layers.Add()([x, y])))
    return tf_keras.Model(entry, _head(layers.BatchNormalization()(x)))


@semantics()
def norm_as_output():
    """BatchNormalization as the last layer (embeddings)."""
    entry = vector()
    return tf_keras.Model(entry, layers.BatchNormalization()(layers.Dense(4)(entry)))


@semantics()
def norm_without_gamma_and_beta():
    """scale=False and center=False: no variables are made up."""
    entry = image()
    x = layers.BatchNormalization(scale=False)(layers.Conv2D(4, 3, use_bias=False)(entry))
    x = layers.BatchNormalization(center=False)(layers.Conv2D(4, 3)(layers.ReLU()(x)))
    return tf_keras.Model(entry, _head(x))


@semantics()
def norm_behind_biases():
    """Convolution with bias, BatchNormalization: the bias is a variable without a gradient, and stays one."""
    entry = image()
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(layers.Conv2D(4, 3)(entry)))
    return tf_keras.Model(entry, _head(x))


@semantics()
def norm_behind_depthwise_and_dense():
    """Depthwise, separable and dense layers with BatchNormalization behind them."""
    entry = image()
    x = layers.DepthwiseConv2D(3, use_bias=False, depth_multiplier=2)(entry)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(layers.SeparableConv2D(4, 3)(x))
    return tf_keras.Model(entry, layers.Dense(2)(layers.ReLU()(layers.BatchNormalization()(layers.Dense(5)(x)))))


@semantics()
def norm_behind_transposed_conv():
    """Conv2DTranspose with BatchNormalization."""
    entry = image(4)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same", use_bias=False)(entry)
    return tf_keras.Model(entry, layers.Conv2D(2, 1)(layers.ReLU()(layers.BatchNormalization()(x))))


@semantics()
def norm_of_a_series():
    """Conv1D and BatchNormalization, and one along axis 1."""
    entry = tf_keras.Input((8, 4), name="series")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(5, 3, padding="causal")(entry)))
    return tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(layers.BatchNormalization(axis=1)(x))))


@semantics()
def other_normalizations():
    """LayerNormalization, GroupNormalization and UnitNormalization with Dense layers behind them."""
    entry = image()
    x = layers.GroupNormalization(2)(layers.Conv2D(4, 3)(entry))
    x = layers.LayerNormalization()(layers.Flatten()(layers.ReLU()(x)))
    return tf_keras.Model(entry, layers.Dense(3)(layers.UnitNormalization()(layers.Dense(5)(x))))


@semantics()
def zero_kernel_and_identity_bias():
    """PointNet's T-net: a Dense layer of zeros with an identity for its bias."""
    entry = vector()
    x = layers.Dense(5, activation="relu")(entry)
    eye = tf_keras.initializers.Constant(np.eye(2).reshape(-1))
    x = layers.Dense(4, kernel_initializer="zeros", bias_initializer=eye)(x)
    return tf_keras.Model(entry, layers.Dense(2)(x))


@semantics()
def prelu_and_thresholds():
    """PReLU and LeakyReLU behind convolutions: slopes are trained."""
    entry = image()
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(4, 3)(entry))
    return tf_keras.Model(entry, _head(layers.LeakyReLU(0.1)(layers.Conv2D(4, 3)(x))))
