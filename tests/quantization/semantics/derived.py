"""Kernels that are computed from variables in each forward pass."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .listing import image, semantics, vector


class WeightNormDense(layers.Layer):
    """kernel = g * v / |v| (Salimans & Kingma 2016)."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        self.v = self.add_weight("v", shape=(shape[-1], self.units))
        self.g = self.add_weight("g", shape=(self.units,), initializer="ones")
        self.bias = self.add_weight("bias", shape=(self.units,))

    def call(self, x):
        return tf.matmul(x, self.g * tf.nn.l2_normalize(self.v, axis=0)) + self.bias


class WeightNormConv(WeightNormDense):
    def build(self, shape):
        self.v = self.add_weight("v", shape=(3, 3, shape[-1], self.units))
        self.g = self.add_weight("g", shape=(self.units,), initializer="ones")
        self.bias = self.add_weight("bias", shape=(self.units,))

    def call(self, x):
        return tf.nn.conv2d(x, self.g * tf.nn.l2_normalize(self.v, axis=[0, 1, 2]), 1, "SAME") + self.bias


class StandardisedConv(layers.Conv2D):
    """Weight standardisation (Qiao et al. 2019), as Big Transfer's code writes it: the kernel is replaced in call."""

    def call(self, x):
        mean, variance = tf.nn.moments(self.kernel, axes=[0, 1, 2], keepdims=True)
        kernel = (self.kernel - mean) / tf.sqrt(variance + 1e-5)
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, self.strides, self.padding.upper()), self.bias)


class ScaledStandardisedConv(layers.Conv2D):
    """NFNet's: a trained gain for each filter, and the fan-in."""

    def build(self, shape):
        super().build(shape)
        self.gain = self.add_weight("gain", shape=(self.filters,), initializer="ones")

    def call(self, x):
        mean, variance = tf.nn.moments(self.kernel, axes=[0, 1, 2], keepdims=True)
        fan_in = float(np.prod(self.kernel.shape[:3]))
        scale = tf.math.rsqrt(tf.maximum(variance * fan_in, 1e-4)) * self.gain
        return tf.nn.conv2d(x, (self.kernel - mean) * scale, 1, "SAME") + self.bias


class Cosine(layers.Layer):
    """A head whose class vectors and features have length 1 (ArcFace and its kind)."""

    def __init__(self, units=4, scale=8.0, **options):
        super().__init__(**options)
        self.units, self.scale = units, scale

    def build(self, shape):
        self.classes = self.add_weight("classes", shape=(shape[-1], self.units))

    def call(self, x):
        features = tf.nn.l2_normalize(x, axis=-1)
        return self.scale * tf.matmul(features, tf.nn.l2_normalize(self.classes, axis=0))


class FromVariables(layers.Layer):
    """A Dense layer whose kernel [in, units] is a function of named variables."""

    def __init__(self, shapes, kernel, **options):
        super().__init__(**options)
        self.shapes, self.kernel_of = shapes, kernel

    def build(self, shape):
        self.parts = [self.add_weight(name, shape=size) for name, size in self.shapes.items()]

    def call(self, x):
        return tf.matmul(x, self.kernel_of(*self.parts))


def _head(x):
    return layers.Dense(2, name="head")(layers.GlobalAveragePooling2D()(layers.ReLU()(x)))


def _dense(layer):
    entry = vector()
    x = layers.Dense(6, activation="relu")(entry)
    return tf_keras.Model(entry, layers.Dense(2)(layer(x)))


@semantics()
def weight_normalisation():
    """g and v are what is trained, not their product."""
    return _dense(WeightNormDense(4))


@semantics()
def weight_normalisation_of_convolutions():
    """g and v of a convolution, with a BatchNormalization behind."""
    entry = image()
    x = layers.ReLU()(layers.BatchNormalization()(WeightNormConv(4)(entry)))
    return tf_keras.Model(entry, _head(WeightNormConv(4)(x)))


@semantics()
def weight_standardisation():
    """The kernel itself is trained; its mean and size get no gradient."""
    entry = image()
    return tf_keras.Model(entry, _head(layers.GroupNormalization(2)(StandardisedConv(4, 3)(entry))))


@semantics()
def scaled_weight_standardisation():
    """Kernel, gain and bias are three variables."""
    entry = image()
    return tf_keras.Model(entry, _head(ScaledStandardisedConv(4, 3)(entry)))


@semantics()
def spectral_normalization_of_dense():
    """tf_keras.layers.SpectralNormalization: the power iteration's vector goes on as in the float model."""
    return _dense(layers.SpectralNormalization(layers.Dense(4)))


@semantics()
def spectral_normalization_of_conv():
    """SpectralNormalization of a convolution."""
    entry = image()
    return tf_keras.Model(entry, _head(layers.SpectralNormalization(layers.Conv2D(4, 3))(entry)))


@semantics()
def cosine_head():
    """Normalised class vectors and features: the gradient stands upright on each class vector."""
    return _dense(Cosine())


@semantics()
def low_rank_factors():
    """kernel = left @ right: two variables, no third."""
    return _dense(FromVariables({"left": (6, 2), "right": (2, 5)}, tf.matmul))


class LowRankConv(layers.Layer):
    """A convolution whose kernel is a product of two variables, and moved by a constant matrix."""

    def build(self, shape):
        self.left = self.add_weight("left", shape=(9 * shape[-1], 2))
        self.right = self.add_weight("right", shape=(2, 4))

    def call(self, x):
        size = self.left.shape[0]
        mixed = tf.matmul(tf.cast(tf.linalg.band_part(tf.ones((size, size)), 0, 1), x.dtype), self.left)
        return tf.nn.conv2d(x, tf.reshape(tf.matmul(mixed, self.right), (3, 3, -1, 4)), 1, "SAME")


@semantics()
def low_rank_factors_of_a_convolution():
    """Two variables, one convolution; once refused."""
    entry = image()
    x = layers.BatchNormalization()(LowRankConv()(entry))
    return tf_keras.Model(entry, _head(x))


@semantics()
def kernel_by_a_decomposition():
    """A Cholesky factor of a variable's square."""

    def kernel(a, b):
        return tf.matmul(tf.linalg.cholesky(tf.matmul(a, a, transpose_b=True) + tf.eye(6, dtype=a.dtype)), b)

    return _dense(FromVariables({"a": (6, 6), "b": (6, 4)}, kernel))


@semantics()
def kernel_by_an_exponential():
    """A rotation as the exponential of a skew matrix, which TensorFlow computes by conditions and a loop."""
    return _dense(FromVariables({"a": (6, 6), "b": (6, 4)}, _rotated))


def _rotated(a, b):
    return tf.matmul(tf.linalg.expm(a - tf.transpose(a)), b)


@semantics()
def masked_kernel():
    """A kernel times a constant mask (MADE): masked entries get no gradient."""
    mask = np.tril(np.ones((6, 6), np.float32))
    return _dense(FromVariables({"kernel": (6, 6)}, lambda kernel: kernel * tf.cast(mask, kernel.dtype)))


@semantics()
def positive_kernel():
    """softplus(kernel), as monotone networks have it."""
    return _dense(FromVariables({"kernel": (6, 4)}, tf.nn.softplus))


@semantics()
def symmetric_kernel():
    """(W + W^T) / 2: one variable, read twice."""
    return _dense(FromVariables({"kernel": (6, 6)}, lambda kernel: (kernel + tf.transpose(kernel)) / 2))


@semantics()
def kernel_of_equal_learning_rates():
    """StyleGAN's: a kernel of size 1 times a constant."""
    return _dense(FromVariables({"kernel": (6, 4)}, lambda kernel: kernel * 0.1))


@semantics()
def kernel_in_two_parts():
    """A kernel put together from two variables."""
    return _dense(FromVariables({"a": (2, 4), "b": (4, 4)}, lambda a, b: tf.concat([a, b], 0)))


@semantics()
def kernel_gathered():
    """A kernel whose rows are shared by a constant table of places (hashed weights)."""
    rows = [0, 1, 2, 0, 1, 2]
    return _dense(FromVariables({"kernel": (3, 4)}, lambda kernel: tf.gather(kernel, rows)))


class KernelNormalised(layers.Wrapper):
    """Weight normalisation as tensorflow-addons wrote it: the inner layer is called with a kernel that is computed."""

    def build(self, shape):
        self.layer.build(shape)
        self.direction = self.layer.kernel
        self.length = self.add_weight("length", (self.direction.shape[-1],), initializer="ones")
        self.built = True

    def call(self, x):
        axes = list(range(self.direction.shape.rank - 1))
        self.layer.kernel = tf.nn.l2_normalize(self.direction, axes) * self.length
        return self.layer(x)


@semantics()
def weight_normalisation_by_a_wrapper():
    """The computed kernel stands in the place of the inner layer's variable; once "a form that is not known"."""
    x = KernelNormalised(layers.Conv2D(4, 3, activation="relu"))(entry := image())
    x = layers.GlobalAveragePooling2D()(x)
    return tf_keras.Model(entry, KernelNormalised(layers.Dense(3))(x))
