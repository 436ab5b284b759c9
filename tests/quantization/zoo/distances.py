"""Towers whose distance is taken, blocks that concatenate again and again, embeddings put together with others.

Kinds that once ended below plain post-training quantization, or whose file was not the model code for code.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .attention import ClassToken, PositionalEmbedding
from .drawing import VOCABULARY


def _towers(distance, size=10):
    tower = tf_keras.Sequential([layers.Dense(24, activation="relu"), layers.Dense(8)])
    left, right = tf_keras.Input((size,), name="left"), tf_keras.Input((size,), name="right")
    return tf_keras.Model([left, right], distance(tower(left), tower(right)))


def towers_absolute():
    return _towers(lambda a, b: tf.abs(a - b))


def towers_absolute_summed():
    return _towers(lambda a, b: tf.reduce_sum(tf.abs(a - b), axis=1, keepdims=True))


def towers_squared():
    return _towers(lambda a, b: tf.reduce_sum(tf.square(a - b), axis=1, keepdims=True))


def towers_norm():
    return _towers(lambda a, b: tf.norm(a - b, axis=1, keepdims=True))


def towers_cosine():
    return _towers(lambda a, b: layers.Dot(1, normalize=True)([a, b]))


def towers_of_convolutions():
    tower = tf_keras.Sequential(
        [layers.Conv2D(6, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(8)]
    )
    left, right = tf_keras.Input((10, 10, 1), name="left"), tf_keras.Input((10, 10, 1), name="right")
    return tf_keras.Model([left, right], layers.Dense(1, activation="sigmoid")(tf.abs(tower(left) - tower(right))))


def _preactivated(x, channels, kernel=3):
    y = layers.ReLU()(layers.BatchNormalization()(x))
    return layers.Conv2D(channels, kernel, padding="same", use_bias=False)(y)


def _classified(image, x):
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    return tf_keras.Model(image, layers.Dense(5)(x))


def dense_block():
    image = tf_keras.Input((10, 10, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same")(image)
    for _ in range(6):
        x = layers.Concatenate()([x, _preactivated(x, 4)])
    return _classified(image, x)


def dense_blocks_with_transition():
    image = tf_keras.Input((10, 10, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    for block in range(2):
        for _ in range(3):
            x = layers.Concatenate()([x, _preactivated(_preactivated(x, 8, 1), 4)])
        x = layers.AveragePooling2D(2)(_preactivated(x, 8, 1)) if block == 0 else x
    return _classified(image, x)


def dense_layers_concatenated():
    x = entry = tf_keras.Input((12,), name="features")
    for _ in range(4):
        y = layers.Dense(8, use_bias=False)(layers.ReLU()(layers.BatchNormalization()(x)))
        x = layers.Concatenate()([x, y])
    return tf_keras.Model(entry, layers.Dense(3)(x))


def _ids(name, length=1):
    return tf_keras.Input((length,), dtype="int32", name=name)


def _embedded(ids):
    return layers.Flatten()(layers.Embedding(VOCABULARY, 8)(ids))


def _put_together(join):
    user, item, numbers = _ids("user"), _ids("item"), tf_keras.Input((6,), name="numbers")
    x = join(_embedded(user), _embedded(item), layers.Dense(8, activation="relu")(numbers))
    x = layers.Dense(12, activation="relu")(layers.Flatten()(x))
    return tf_keras.Model([user, item, numbers], layers.Dense(2)(x))


def embeddings_stacked_with_others():
    return _put_together(lambda *x: tf.stack(x, 1))


def embeddings_beside_others():
    return _put_together(lambda *x: tf.concat(x, -1))


def embeddings_and_others_multiplied():
    return _put_together(lambda *x: tf.matmul(tf.stack(x, 1), tf.stack(x, 1), transpose_b=True))


def embeddings_of_two_tables():
    user, item = _ids("user"), _ids("item")
    return tf_keras.Model([user, item], layers.Dense(2)(tf.concat([_embedded(user), _embedded(item)], -1)))


def embeddings_before_a_series():
    ids, series = _ids("ids", 5), tf_keras.Input((7, 3), name="series")
    x = tf.concat([layers.Embedding(VOCABULARY, 8)(ids), layers.Dense(8)(series)], 1)
    return tf_keras.Model([ids, series], layers.Dense(3)(layers.Flatten()(layers.Conv1D(6, 3)(x))))


class Attention(layers.Layer):
    """Attention in ops, as repositories write it."""

    def __init__(self, heads, width, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.width = heads, width
        self.qkv, self.projection = layers.Dense(3 * width), layers.Dense(width)

    def call(self, x):
        count, depth = x.shape[1], self.width // self.heads
        parts = tf.transpose(tf.reshape(self.qkv(x), (-1, count, 3, self.heads, depth)), (2, 0, 3, 1, 4))
        weights = tf.nn.softmax(tf.matmul(parts[0], parts[1], transpose_b=True) * depth**-0.5)
        x = tf.transpose(tf.matmul(weights, parts[2]), (0, 2, 1, 3))
        return self.projection(tf.reshape(x, (-1, count, self.width)))


def _blocks(x, count, width):
    for _ in range(count):
        x = x + Attention(2, width)(layers.LayerNormalization(epsilon=1e-6)(x))
        y = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = x + layers.Dense(width)(y)
    return layers.LayerNormalization(epsilon=1e-6)(x)


def class_token_in_ops():
    image = tf_keras.Input((12, 12, 3), name="image")
    x = tf.reshape(layers.Conv2D(8, 4, 4)(image), (-1, 9, 8))
    x = _blocks(PositionalEmbedding()(ClassToken()(x)), 2, 8)
    return tf_keras.Model(image, layers.Dense(5)(x[:, 0]))


def tokens_classified_each():
    ids = _ids("ids", 6)
    x = layers.Embedding(VOCABULARY, 8)(ids) + layers.Embedding(6, 8)(tf.range(6))
    return tf_keras.Model(ids, layers.Dense(VOCABULARY)(_blocks(x, 2, 8)))


def columns_of_a_table():
    """A lookup along an axis that is not the first: a table of constants, and one that is trained."""
    ids = _ids("ids", 6)
    table = np.random.default_rng(0).normal(size=(3, VOCABULARY)).astype(np.float32)
    x = tf.transpose(tf.gather(tf.constant(table), ids, axis=1), [1, 2, 0])
    return tf_keras.Model(ids, layers.Dense(5)(layers.Flatten()(layers.Concatenate()([x, Columns()(ids)]))))


class Columns(layers.Layer):
    def build(self, input_shape):
        self.table = self.add_weight(name="table", shape=(2, VOCABULARY, 3))

    def call(self, ids):
        return tf.reshape(tf.transpose(tf.gather(self.table, ids, axis=1), [1, 2, 0, 3]), (-1, 6, 6))


DISTANCES = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_") and not isinstance(build, type)
}
