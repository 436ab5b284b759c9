"""Attention and transformers."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .drawing import VOCABULARY


def _steps(name="steps", length=6, width=8):
    return tf_keras.Input((length, width), name=name)


def self_attention():
    steps = _steps()
    x = layers.MultiHeadAttention(2, 4)(steps, steps)
    return tf_keras.Model(steps, layers.Dense(3)(x))


def cross_attention():
    query, memory = _steps("query", 4), _steps("memory", 6)
    return tf_keras.Model([query, memory], layers.MultiHeadAttention(2, 4)(query, memory))


def causal_attention():
    steps = _steps()
    return tf_keras.Model(steps, layers.MultiHeadAttention(2, 4)(steps, steps, use_causal_mask=True))


def masked_attention():
    steps = _steps()
    mask = tf.constant(np.tri(6, dtype=bool)[None])
    return tf_keras.Model(steps, layers.MultiHeadAttention(2, 4)(steps, steps, attention_mask=mask))


def attention_scores_returned():
    steps = _steps()
    x, scores = layers.MultiHeadAttention(2, 4)(steps, steps, return_attention_scores=True)
    return tf_keras.Model(steps, [x, scores])


def dot_product_attention():
    query, memory = _steps("query", 4), _steps("memory", 6)
    return tf_keras.Model([query, memory], layers.Attention(use_scale=True)([query, memory]))


def causal_dot_attention():
    steps = _steps()
    return tf_keras.Model(steps, layers.Attention()([steps, steps], use_causal_mask=True))


def additive_attention():
    query, memory = _steps("query", 4), _steps("memory", 6)
    return tf_keras.Model([query, memory], layers.AdditiveAttention()([query, memory]))


def hand_written_attention():
    steps = _steps()
    q, k, v = layers.Dense(8)(steps), layers.Dense(8)(steps), layers.Dense(8)(steps)
    weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / np.sqrt(8.0).astype(np.float32))
    return tf_keras.Model(steps, layers.Dense(3)(tf.matmul(weights, v)))


def attention_pooling():
    steps = _steps()
    weights = layers.Softmax(axis=1)(layers.Dense(1, activation="tanh")(steps))
    return tf_keras.Model(steps, layers.Dense(2)(tf.reduce_sum(steps * weights, axis=1)))


def _encoder(x, heads=2, width=8, approximate=False):
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = x + layers.MultiHeadAttention(heads, width // heads, dropout=0.1)(y, y)
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.Dense(2 * width, activation=lambda t: tf.nn.gelu(t, approximate))(y)
    return x + layers.Dropout(0.1)(layers.Dense(width)(y))


class ClassToken(layers.Layer):
    def build(self, shape):
        self.token = self.add_weight("token", (1, 1, shape[-1]), initializer="random_normal")

    def call(self, inputs):
        token = tf.broadcast_to(self.token, (tf.shape(inputs)[0], 1, inputs.shape[-1]))
        return tf.concat([token, inputs], axis=1)


class PositionalEmbedding(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight("table", (1, *shape[1:]), initializer=tf_keras.initializers.RandomNormal(0, 0.3))

    def call(self, inputs):
        return inputs + self.table


class TokenAndPosition(layers.Layer):
    """As in the Keras tutorial: positions are looked up in a table of their own."""

    def __init__(self, length, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(VOCABULARY, 8)
        self.positions = layers.Embedding(length, 8)

    def call(self, inputs):
        return self.tokens(inputs) + self.positions(tf.range(0, tf.shape(inputs)[-1], 1))


def vision_transformer():
    image = tf_keras.Input((8, 8, 3), name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
    x = layers.Reshape((4, 8))(layers.Conv2D(8, 4, strides=4)(x))
    x = _encoder(_encoder(PositionalEmbedding()(ClassToken()(x))))
    x = layers.LayerNormalization(epsilon=1e-6)(x)[:, 0]
    return tf_keras.Model(image, layers.Dense(4, activation="softmax")(x))


def token_transformer():
    ids = tf_keras.Input((6,), dtype="int32", name="ids")
    x = _encoder(TokenAndPosition(6)(ids), approximate=True)
    return tf_keras.Model(ids, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def post_norm_transformer():
    ids = tf_keras.Input((6,), dtype="int32", name="ids")
    x = layers.Embedding(VOCABULARY, 8)(ids)
    x = layers.LayerNormalization(epsilon=1e-6)(x + layers.MultiHeadAttention(2, 4)(x, x))
    y = layers.Dense(8)(layers.Dense(16, activation="relu")(x))
    x = layers.LayerNormalization(epsilon=1e-6)(x + y)
    return tf_keras.Model(ids, layers.Dense(2)(layers.Flatten()(x)))


def masked_token_transformer():
    ids = tf_keras.Input((6,), dtype="int32", name="ids")
    x = layers.Embedding(VOCABULARY, 8, mask_zero=True)(ids)
    return tf_keras.Model(ids, layers.Dense(2)(layers.MultiHeadAttention(2, 4)(x, x)))


ATTENTION = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_") and not isinstance(build, type)
}
