"""Choices between tensors, and tensors put together, that others read as well."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers


def _pair():
    """An image and two convolutions of it, the second with three times the range."""
    image = tf_keras.Input((8, 8, 3), name="image")
    return image, layers.Conv2D(4, 3)(image), layers.Conv2D(4, 3)(image) * 3.0


def _heads(chosen, *others):
    """A convolution of what was chosen, and one of each tensor that is read beside it."""
    return [layers.Conv2D(3, 1)(chosen), *[layers.Conv2D(2, 1)(x) for x in others]]


def _head(image, chosen):
    return tf_keras.Model(image, layers.Conv2D(3, 1)(chosen))


def _positive(image):
    """Where the first channel is above 0, for what a 3x3 convolution leaves."""
    return image[:, 1:-1, 1:-1, :1] > 0.0


def _rows(stacked):
    return tf.reshape(stacked, (-1, 12, 6, 4))


def maximum_one_read():
    image, a, b = _pair()
    return tf_keras.Model(image, _heads(tf.maximum(a, b), a))


def maximum_both_read():
    image, a, b = _pair()
    return tf_keras.Model(image, _heads(tf.maximum(a, b), a, b))


def minimum_of_scaled_one_read():
    image, a, b = _pair()
    return tf_keras.Model(image, _heads(tf.minimum(b * 0.2, a), a))


def where_one_read():
    image, a, b = _pair()
    return tf_keras.Model(image, _heads(tf.where(_positive(image), a, b), a))


def where_both_read():
    image, a, b = _pair()
    return tf_keras.Model(image, _heads(tf.where(_positive(image), a, b), a, b))


def where_leaky_relu():
    image, _, x = _pair()
    return _head(image, tf.where(x > 0.0, x, 0.1 * x))


def where_less_above_zero():
    image, _, x = _pair()
    return _head(image, tf.where(x > 0.0, 0.1 * x, x))


def where_tanh_below_zero():
    image, _, x = _pair()
    return _head(image, tf.where(x < 0.0, tf.tanh(x), x))


def where_tanh_by_another():
    image, a, b = _pair()
    return _head(image, tf.where(a < 0.05, tf.tanh(b), b))


def where_elu():
    image, _, x = _pair()
    return _head(image, tf.where(x < 0.0, tf.exp(tf.minimum(x, 0.0)) - 1.0, x))


def where_small_numbers_compared():
    image, a, b = _pair()
    a, b = a * 0.01, b * 0.01
    return _head(image, tf.where(a < b, a, tf.sigmoid(b)))


def concat_both_read():
    image, a, b = _pair()
    return tf_keras.Model(image, _heads(tf.concat([a, b], -1), a, b))


def concat_of_scaled_all_read():
    image, a, b = _pair()
    heads = _heads(tf.concat([a * 0.2, b], -1), a, b)
    return tf_keras.Model(image, [*heads, tf.tanh(a * 0.2)])


def stack_both_read():
    image, a, b = _pair()
    return tf_keras.Model(image, _heads(_rows(tf.stack([a, b], 1)), a, b))


def stack_on_first_axis_both_read():
    image, a, b = _pair()
    stacked = tf.transpose(tf.stack([a, b], 0), (1, 0, 2, 3, 4))
    return tf_keras.Model(image, _heads(_rows(stacked), a, b))


def stack_of_where_both_read():
    image, a, b = _pair()
    positive = _positive(image)
    a, b = tf.where(positive, a, 0.0), tf.where(positive, b, 0.0)
    return tf_keras.Model(image, _heads(_rows(tf.stack([a, b], 1)), a, b))


def pixels_above_threshold():
    pixels = tf_keras.Input((8,), name="pixels")
    return tf_keras.Model(pixels, layers.Dense(3)(tf.cast(pixels > 100.0, tf.float32)))


def _categories(count, output_mode):
    ids = tf_keras.Input((count,), dtype="int32", name="ids")
    x = layers.CategoryEncoding(20, output_mode=output_mode)(ids)
    return tf_keras.Model(ids, layers.Dense(3)(x))


def categories_one_hot():
    return _categories(1, "one_hot")


def categories_multi_hot():
    return _categories(4, "multi_hot")


def categories_counted():
    return _categories(4, "count")


CHOICES = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_")
}
