"""Merging layers and TensorFlow functions on Keras tensors."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers


def _two():
    image = tf_keras.Input((6, 6, 3), name="image")
    return image, layers.Conv2D(4, 3, padding="same")(image), layers.Conv2D(4, 1, activation="relu")(image)


def _end(image, x):
    return tf_keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def _merge(layer):
    def build():
        image, a, b = _two()
        return _end(image, layer([a, b]))

    return build


def _function(function):
    def build():
        image, a, b = _two()
        return _end(image, function(a, b))

    return build


def _slices(a, b):
    return tf.concat([a[:, 1:4, ::2, :], b[:, :3, 3:, :]], axis=-1)


def _three_way_average(a, b):
    return layers.Average()([a, b, a])


def _constant_block(a, b):
    return a * tf.constant(np.linspace(-1, 1, 144).reshape(1, 6, 6, 4), tf.float32) + b


def _split_and_stack(a, b):
    left, right = tf.split(a, 2, axis=-1)
    return tf.stack([left, right], axis=1) + tf.stack(tf.split(b, 2, axis=-1), axis=1)


def _shape_arithmetic(a, b):
    size = tf.shape(a)
    return tf.reshape(a, (size[0], size[1] * size[2], 4)) + tf.reshape(b, (-1, 36, 4))


def _channel_shuffle(a, b):
    x = tf.reshape(layers.Concatenate()([a, b]), (-1, 6, 6, 2, 4))
    return tf.reshape(tf.transpose(x, [0, 1, 2, 4, 3]), (-1, 6, 6, 8))


def squeeze_excite():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, activation="swish")(image)
    gate = layers.Reshape((1, 1, 8))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv2D(8, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="relu")(gate))
    return _end(image, layers.Multiply()([x, gate]))


def squeeze_excite_dense():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu")(image)
    gate = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Reshape((1, 1, 8))(layers.Dense(8, activation="hard_sigmoid")(gate))
    return _end(image, x * gate)


def dot_layer():
    a, b = tf_keras.Input((5, 8), name="a"), tf_keras.Input((6, 8), name="b")
    return tf_keras.Model([a, b], layers.Dot(axes=2)([a, b]))


def cosine_similarity():
    a, b = tf_keras.Input((8,), name="a"), tf_keras.Input((8,), name="b")
    return tf_keras.Model([a, b], layers.Dot(axes=1, normalize=True)([layers.Dense(6)(a), layers.Dense(6)(b)]))


ARITHMETIC = {
    "add": _merge(lambda t: layers.Add()(t)),
    "add_relu": _merge(lambda t: layers.ReLU()(layers.Add()(t))),
    "multiply": _merge(lambda t: layers.Multiply()(t)),
    "subtract": _merge(lambda t: layers.Subtract()(t)),
    "average": _merge(lambda t: layers.Average()(t)),
    "average_of_three": _function(_three_way_average),
    "maximum": _merge(lambda t: layers.Maximum()(t)),
    "minimum": _merge(lambda t: layers.Minimum()(t)),
    "concatenate": _merge(lambda t: layers.Concatenate()(t)),
    "concatenate_rows": _merge(lambda t: layers.Concatenate(axis=1)(t)),
    "add_of_three": _function(lambda a, b: layers.Add()([a, b, a * 0.5])),
    "operators": _function(lambda a, b: (a * 2.0 - b / 3.0 + 1.0) * (0.5 - b)),
    "negation_and_square": _function(lambda a, b: tf.square(a) - tf.negative(b)),
    "power_of_two": _function(lambda a, b: a**2 + tf.pow(b, 3.0)),
    "square_root": _function(lambda a, b: tf.sqrt(tf.abs(a) + 0.1) + tf.math.rsqrt(b + 1.0)),
    "division": _function(lambda a, b: a / (b + 1.0)),
    "exponential_and_log": _function(lambda a, b: tf.exp(-tf.abs(a)) + tf.math.log(b + 1.0)),
    "means": _function(
        lambda a, b: tf.reduce_mean(a, [1, 2], keepdims=True) * b + tf.reduce_mean(b, -1, keepdims=True)
    ),
    "sums": _function(lambda a, b: tf.reduce_sum(a, -1, keepdims=True) + b),
    "reductions": _function(lambda a, b: tf.reduce_max(a, -1, keepdims=True) + tf.reduce_min(b, [1, 2], keepdims=True)),
    "variance": _function(lambda a, b: tf.math.reduce_variance(a, -1, keepdims=True) * b),
    "standard_deviation": _function(lambda a, b: tf.math.reduce_std(a, [1, 2], keepdims=True) * b),
    "clip": _function(lambda a, b: tf.clip_by_value(a, -1.0, 1.0) + tf.clip_by_value(b, 0.2, 0.8)),
    "slices": _function(_slices),
    "constant_block": _function(_constant_block),
    "split_and_stack": _function(_split_and_stack),
    "shape_arithmetic": _function(_shape_arithmetic),
    "channel_shuffle": _function(_channel_shuffle),
    "space_to_depth": _function(lambda a, b: tf.nn.depth_to_space(tf.nn.space_to_depth(a, 2), 2) + b),
    "tile_and_repeat": _function(lambda a, b: tf.tile(a[:, :1], [1, 6, 1, 1]) + b),
    "gather": _function(lambda a, b: tf.gather(a, [3, 1, 0], axis=-1) + b[..., :3]),
    "matmul": _function(lambda a, b: tf.matmul(a, b, transpose_b=True)),
    "einsum_of_one": _function(lambda a, b: tf.einsum("bhwc->bwhc", a) + b),
    "einsum_sum_of_one": _function(lambda a, b: tf.einsum("bhwc->bhc", a)),
    "einsum_diagonal": _function(lambda a, b: tf.einsum("bhhc->bch", a)),
    "einsum_sum_beside_product": _function(lambda a, b: tf.einsum("bhwc,bkwd->bhkc", a, b) / 8.0),
    "einsum": _function(lambda a, b: tf.einsum("bhwc,bkwc->bhkw", a, b)),
    "where": _function(lambda a, b: tf.where(a > 0.0, a, b * 0.5)),
    "permute": _function(lambda a, b: layers.Permute((3, 1, 2))(a) + tf.transpose(b, [0, 3, 1, 2])),
    "repeat_vector": _function(lambda a, b: layers.RepeatVector(5)(layers.GlobalMaxPooling2D()(a))),
    "reverse": _function(lambda a, b: tf.reverse(a, [1]) + b),
    "mirror_pad": _function(lambda a, b: tf.pad(a + b, [[0, 0], [1, 1], [2, 2], [0, 0]], "REFLECT")),
    "pad_with_value": _function(lambda a, b: tf.pad(a + b, [[0, 0], [1, 1], [2, 2], [0, 0]], constant_values=0.7)),
    "squared_difference": _function(lambda a, b: tf.math.squared_difference(a, b)),
    "squeeze_excite": squeeze_excite,
    "squeeze_excite_dense": squeeze_excite_dense,
    "dot_layer": dot_layer,
    "cosine_similarity": cosine_similarity,
}
