"""What a layer or an op does, written out in smaller ops, as people write it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .drawing import VOCABULARY

LOWER = np.tril(np.ones((6, 6), np.float32))


def _of_rows(function):
    """function() of six rows of four numbers."""

    def build():
        rows = tf_keras.Input((6, 4), name="rows")
        return tf_keras.Model(rows, layers.Dense(3)(function(layers.Dense(8)(rows))))

    return build


def _share(each, total):
    return each / total


def _attention(mask, floor):
    """Scores whose exponentials are masked, as in the attention layers of many notebooks."""

    def attend(x):
        scores = tf.matmul(layers.Dense(4)(x), layers.Dense(4)(x), transpose_b=True) * 0.5
        each = mask(tf.exp(scores), x)
        return tf.matmul(_share(each, tf.reduce_sum(each, axis=-1, keepdims=True) + floor), x)

    return attend


def _pooled(x):
    scores = tf.tanh(layers.Dense(1)(x))[..., 0]
    each = tf.exp(scores)
    weights = each / (tf.reduce_sum(each, axis=1, keepdims=True) + 1e-7)
    return tf.reduce_sum(x * weights[..., None], axis=1)


def _heads_in_batch(x):
    """The first Transformer that many have copied: heads are put behind each other along the batch."""
    query, key, value = (tf.concat(tf.split(layers.Dense(8)(x), 2, axis=2), axis=0) for _ in range(3))
    weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) / 2.0)
    return tf.concat(tf.split(tf.matmul(weights, value), 2, axis=0), axis=2)


def _normalized(variance):
    def normalize(x):
        mean = tf.reduce_mean(x, axis=-1, keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance(x, mean) + 1e-3)

    return normalize


def _batch_normalization(x):
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return tf.nn.batch_normalization(x, mean, variance, 0.3, None, 1e-3)


def _cosine(x):
    left, right = layers.Dense(8)(x), layers.Dense(8)(x)
    sizes = tf.norm(left, axis=-1, keepdims=True) * tf.norm(right, axis=-1, keepdims=True)
    return tf.reduce_sum(left * right, axis=-1, keepdims=True) / sizes


def _pooled_by_division(x):
    each = tf.exp(layers.Dense(1)(x))
    return tf.reduce_sum(x * each, axis=1) / tf.reduce_sum(each, axis=1)


class _Rows(layers.Layer):
    """An embedding by `tf.gather_nd`."""

    def build(self, shape):
        self.table = self.add_weight(name="table", shape=(VOCABULARY, 4))

    def call(self, ids):
        return tf.gather_nd(self.table, ids[..., None])


def rows_by_gather_nd():
    ids = tf_keras.Input((6,), dtype="int32", name="ids")
    return tf_keras.Model(ids, layers.Dense(3)(_Rows()(ids)))


BY_HAND = {
    "attention_by_hand_causal": _of_rows(_attention(lambda each, x: each * LOWER, 0.0)),
    "attention_by_hand_masked": _of_rows(
        _attention(lambda each, x: each * tf.cast(x[:, None, :, 0] > -1.0, tf.float32), 1e-7)
    ),
    "attention_by_hand_selected": _of_rows(
        _attention(lambda each, x: tf.where(x[:, None, :, 0] > -1.0, each, 0.0), 1e-9)
    ),
    "attention_pooling_by_hand": _of_rows(_pooled),
    "attention_pooling_by_division": _of_rows(_pooled_by_division),
    "log_of_sum_of_exponentials": _of_rows(lambda x: x - tf.math.log(tf.reduce_sum(tf.exp(x), -1, keepdims=True))),
    "attention_heads_in_batch": _of_rows(_heads_in_batch),
    "sigmoid_by_hand": _of_rows(lambda x: x / (1.0 + tf.exp(-1.702 * x))),
    "tanh_by_hand": _of_rows(lambda x: (tf.exp(2.0 * x) - 1.0) / (tf.exp(2.0 * x) + 1.0)),
    "softplus_by_hand": _of_rows(lambda x: tf.math.log(1.0 + tf.exp(x))),
    "log_of_softmax": _of_rows(lambda x: tf.math.log(tf.nn.softmax(x))),
    "log_of_bounded_softmax": _of_rows(lambda x: tf.math.log(tf.nn.softmax(x, axis=1) + 1e-7)),
    "log_of_clipped_softmax": _of_rows(lambda x: tf.math.log(tf.clip_by_value(tf.nn.softmax(x), 1e-7, 1.0))),
    "direction_clipped": _of_rows(lambda x: tf.clip_by_value(tf.math.l2_normalize(x, axis=-1), -0.5, 0.5)),
    "log_softmax_clipped": _of_rows(lambda x: tf.clip_by_value(tf.nn.log_softmax(x), -20.0, 0.0)),
    "root_of_square": _of_rows(lambda x: tf.sqrt(tf.square(x))),
    "variance_of_squares": _of_rows(
        _normalized(lambda x, mean: tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) - tf.square(mean))
    ),
    "batch_normalization_of_moments": _of_rows(lambda x: _batch_normalization(x + 3.0)),
    "cosine_by_hand": _of_rows(_cosine),
    "largest_of_stack_with_zeros": _of_rows(lambda x: tf.reduce_max(tf.stack([x, tf.zeros_like(x)]), axis=0)),
    "relu_shares": _of_rows(lambda x: tf.nn.relu(x) / (tf.reduce_sum(tf.nn.relu(x), -1, keepdims=True) + 1e-6)),
    "rows_by_gather_nd": rows_by_gather_nd,
}
