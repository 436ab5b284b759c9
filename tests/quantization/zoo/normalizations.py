"""Normalizations in every place where people put them."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from .structure import GatedUnit

SHAPE = (8, 8, 4)


def _image():
    return tf_keras.Input(SHAPE, name="image")


def _conv(x, **options):
    return layers.Conv2D(4, 3, padding="same", **options)(x)


def _end(image, x):
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def batch_norm_after_add():
    image = _image()
    return _end(image, layers.ReLU()(layers.BatchNormalization()(layers.Add()([_conv(image), _conv(image)]))))


def batch_norm_after_concat():
    image = _image()
    x = layers.Concatenate()([_conv(image), layers.MaxPooling2D(3, 1, padding="same")(image)])
    return _end(image, _conv(layers.ReLU()(layers.BatchNormalization()(x))))


def batch_norm_after_pool():
    image = _image()
    return _end(image, _conv(layers.BatchNormalization()(layers.AveragePooling2D()(_conv(image, activation="relu")))))


def batch_norm_first():
    image = _image()
    return _end(image, _conv(layers.BatchNormalization()(image)))


def batch_norm_first_flat():
    entry = tf_keras.Input((10,), name="features")
    return tf_keras.Model(
        entry, layers.Dense(3)(layers.Dense(8, activation="relu")(layers.BatchNormalization()(entry)))
    )


def batch_norm_before_conv():
    image = _image()
    x = _conv(image, activation="relu")
    return _end(image, _conv(layers.Activation("relu")(layers.BatchNormalization()(x))))


def batch_norm_after_relu_dense():
    entry = tf_keras.Input((10,), name="features")
    x = layers.BatchNormalization()(layers.Dense(8, activation="relu")(entry))
    return tf_keras.Model(entry, layers.Dense(3)(x))


def batch_norm_dense_relu():
    entry = tf_keras.Input((10,), name="features")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(8, use_bias=False)(entry)))
    return tf_keras.Model(entry, layers.Dense(3, activation="softmax")(x))


def batch_norm_conv1d():
    steps = tf_keras.Input((12, 3), name="steps")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(4, 3)(steps)))
    return tf_keras.Model(steps, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.BatchNormalization()(x))))


def batch_norm_last():
    image = _image()
    return tf_keras.Model(image, layers.BatchNormalization()(layers.GlobalAveragePooling2D()(_conv(image))))


def batch_norm_twice():
    image = _image()
    return _end(image, layers.BatchNormalization()(layers.BatchNormalization()(_conv(image))))


def batch_norm_no_scale_no_center():
    image = _image()
    x = layers.BatchNormalization(scale=False)(_conv(image, use_bias=False))
    return _end(image, layers.BatchNormalization(center=False, scale=False)(layers.ReLU()(x)))


def batch_norm_first_axis():
    image = _image()
    return _end(image, _conv(layers.BatchNormalization(axis=1)(_conv(image))))


def layer_normalization():
    entry = tf_keras.Input((6, 8), name="steps")
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Dense(8)(entry))
    return tf_keras.Model(entry, layers.Dense(3)(layers.Flatten()(x)))


def layer_normalization_image():
    image = _image()
    return _end(image, layers.LayerNormalization(axis=[1, 2, 3])(_conv(image)))


def layer_normalization_channels():
    image = _image()
    return _end(image, _conv(layers.LayerNormalization()(_conv(image))))


def layer_normalization_first():
    entry = tf_keras.Input((12,), name="features")
    return tf_keras.Model(entry, layers.Dense(3)(layers.LayerNormalization()(entry)))


def layer_normalization_of_small_rows():
    """Rows of one batch that differ by a factor of 10, as dark and bright patches do."""
    entry = tf_keras.Input((6, 8), name="steps")
    x = layers.Dense(8)(entry) * tf.constant([1.0, 0.5, 0.3, 0.2, 0.15, 0.1], shape=[6, 1])
    return tf_keras.Model(entry, layers.Dense(3)(layers.LayerNormalization(epsilon=1e-6)(x)))


def root_mean_square_of_small_rows():
    entry = tf_keras.Input((6, 8), name="steps")
    x = layers.Dense(8)(entry) * tf.constant([1.0, 0.5, 0.3, 0.2, 0.15, 0.1], shape=[6, 1])
    return tf_keras.Model(
        entry, layers.Dense(3)(x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6))
    )


def group_normalization():
    image = _image()
    return _end(image, layers.ReLU()(layers.GroupNormalization(groups=2)(_conv(image))))


def instance_normalization():
    image = _image()
    return _end(image, layers.ReLU()(layers.GroupNormalization(groups=-1)(_conv(image))))


def unit_normalization():
    entry = tf_keras.Input((10,), name="features")
    return tf_keras.Model(entry, layers.UnitNormalization()(layers.Dense(6)(entry)))


class LayerScale(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight("scale", (shape[-1],), initializer=tf_keras.initializers.Constant(0.3))

    def call(self, inputs):
        return inputs * self.scale


class StochasticDepth(layers.Layer):
    def call(self, inputs, training=None):
        if training:
            keep = tf.floor(0.8 + tf.random.uniform((tf.shape(inputs)[0], 1, 1, 1)))
            return inputs / 0.8 * keep
        return inputs


def layer_scale_and_stochastic_depth():
    image = _image()
    x = layers.DepthwiseConv2D(3, padding="same")(image)
    x = layers.Dense(8, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
    x = StochasticDepth()(LayerScale()(layers.Dense(4)(x)))
    return _end(image, layers.Add()([image, x]))


def spectral_like_custom_weight():
    image = _image()
    return tf_keras.Model(image, layers.Dense(3)(GatedUnit()(layers.Flatten()(_conv(image)))))


NORMALIZATIONS = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_") and not isinstance(build, type)
}
