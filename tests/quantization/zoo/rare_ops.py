"""Draws for `random_wiring` of the ops that its first hundred graphs leave out: `RARE`, each of one image and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers


def _shuffled(w: Any):
    """Channels dealt between grouped convolutions, then pooled."""
    size, channels = w.image.shape[1], w.image.shape[-1]
    dealt = tf.reshape(tf.transpose(tf.reshape(w.x(), (-1, size, size, 2, channels // 2)), [0, 1, 2, 4, 3]), w.shape)
    return layers.MaxPooling2D(3, 1, padding="same")(layers.Conv2D(channels, 3, groups=2, padding="same")(dealt))


def _blocks(w: Any):
    """Rows and columns dealt into the batch and back."""
    none = [[0, 0], [0, 0]]
    return tf.batch_to_space(tf.nn.relu(tf.space_to_batch(w.x(), [2, 2], none)), [2, 2], none)


def _depths(w: Any):
    deep = layers.Conv2D(4 * w.image.shape[-1], 1)(tf.nn.space_to_depth(w.x(), 2))
    return tf.nn.depth_to_space(deep, 2)


def _mirrored(w: Any):
    return tf.pad(w.x(), [[0, 0], [1, 1], [1, 1], [0, 0]], w.one_of("REFLECT", "SYMMETRIC"))[:, 1:-1, :-2, :]


def _upwards(w: Any):
    up = layers.Conv2DTranspose(w.image.shape[-1], 3, strides=2, padding="same", activation="tanh")
    return layers.MaxPooling2D(2)(up(w.x()))


def _over_rows(w: Any, layer: Callable[..., Any], **options: Any):
    rows, width = w.image.shape[1], w.image.shape[2] * w.image.shape[3]
    return tf.reshape(layer(width, return_sequences=True, **options)(tf.reshape(w.x(), (-1, rows, width))), w.shape)


def _hidden_scores(w: Any):
    """A softmax over the columns of which some are hidden."""
    hidden = np.zeros((1, 1, w.image.shape[2], 1), np.float32)
    hidden[:, :, ::3] = -1e9
    scores = tf.transpose(w.x() + hidden, [0, 1, 3, 2])
    return w.x() * tf.transpose(tf.nn.softmax(scores), [0, 1, 3, 2])


def _class_map(w: Any):
    """The strongest channel, as a number."""
    return tf.argmax(w.x(), -1, output_type=tf.int32)


@tf.custom_gradient
def _gentle(x):
    return tf.identity(x), lambda upstream: 0.5 * upstream


def _whole_mean(w: Any):
    return tf.reduce_mean(w.x(), [1, 2], keepdims=True)


RARE: tuple[Callable[[Any], tf.Tensor], ...] = (
    _shuffled,
    _blocks,
    _depths,
    _mirrored,
    _upwards,
    _hidden_scores,
    lambda w: _over_rows(w, layers.LSTM),
    lambda w: _over_rows(w, layers.SimpleRNN, dropout=0.2),
    lambda w: w.x() / (tf.abs(w.x()) + 1.0),
    lambda w: w.x() / (tf.reduce_max(tf.abs(w.x()), [1, 2, 3], keepdims=True) + 0.5),
    lambda w: tf.exp(tf.minimum(w.x(), 1.0)),
    lambda w: tf.math.log(tf.abs(w.x()) + 0.5),
    lambda w: tf.sqrt(tf.abs(w.x())),
    lambda w: tf.math.rsqrt(tf.abs(w.x()) + 0.5),
    lambda w: -w.x(),
    lambda w: 0.25 * tf.round(4.0 * w.x()),
    lambda w: tf.math.squared_difference(w.x(), w.x()) * 0.3,
    lambda w: tf.math.l2_normalize(w.x(), -1),
    lambda w: tf.nn.log_softmax(w.x()) * 0.2,
    lambda w: w.x() - tf.reduce_min(w.x(), [1, 2], keepdims=True),
    lambda w: w.x() + 0.2 * tf.reduce_sum(w.x(), -1, keepdims=True),
    lambda w: tf.tile(_whole_mean(w), [1, *w.image.shape[1:3], 1]),
    lambda w: tf.broadcast_to(_whole_mean(w), tf.shape(w.image)),
    lambda w: tf.gather(w.x(), [3, 1, 0, 2], axis=-1),
    lambda w: layers.Embedding(w.image.shape[-1], w.image.shape[-1])(_class_map(w)),
    lambda w: tf.gather(tf.constant(np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)), _class_map(w)),
    lambda w: tf.transpose(tf.gather(tf.constant(np.eye(4, dtype=np.float32)), _class_map(w), axis=1), [1, 2, 3, 0]),
    lambda w: w.x() * 0.2 * tf.cast(_class_map(w), tf.float32)[..., None],
    lambda w: tf.reverse(w.x(), [1]),
    lambda w: tf.sort(w.x()),
    lambda w: layers.Embedding(w.image.shape[-1], 1)(tf.argsort(w.x()))[..., 0],
    lambda w: tf.where(tf.abs(w.x()) <= w.number(0.1, 0.5), w.x(), w.x()),
    lambda w: tf.stack(tf.unstack(w.x(), axis=1)[::-1], axis=1),
    lambda w: tf.where(tf.equal(_class_map(w), 1)[..., None], w.x(), w.x()),
    lambda w: tf.where(tf.not_equal(_class_map(w), _class_map(w))[..., None], w.x(), w.x()),
    lambda w: tf.where(w.x() >= w.number(-0.2, 0.2), w.x(), w.x()),
    lambda w: tf.where(w.x() <= w.x(), w.x(), w.x()),
    lambda w: tf.where(tf.logical_and(w.x() > 0.0, w.x() < 0.4), w.x(), w.x()),
    lambda w: tf.where(tf.logical_or(w.x() > 0.3, tf.logical_not(w.x() > -0.3)), w.x(), w.x()),
    lambda w: tf.where(tf.reduce_any(w.x() > 0.3, -1, keepdims=True), w.x(), w.x()),
    lambda w: tf.where(tf.reduce_all(w.x() > -0.3, [1, 2], keepdims=True), w.x(), w.x()),
    lambda w: w.x() + tf.stop_gradient(w.x()),
    lambda w: layers.Lambda(_gentle)(w.x()),
    lambda w: layers.Dropout(0.3)(w.x()),
    lambda w: layers.ActivityRegularization(l2=0.01)(w.x()),
    lambda w: tf_keras.activations.mish(w.x()),
    lambda w: tf.einsum("bhwc,bhvc->bhwv", w.x(), w.x())[..., : w.image.shape[-1]],
)
