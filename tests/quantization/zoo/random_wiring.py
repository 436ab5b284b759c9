"""Small graphs wired at random: a few ops of one shape, each reading whatever came before, read by whatever follows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .rare_ops import RARE

SEEDS = 100
RARE_SEEDS = range(100, 180)  # graphs of two to four rare ops between others
SIZE, CHANNELS = 6, 4
RECENT = 4  # an op reads one of that many tensors before it


class Wiring:
    """What has been built so far, and the dice."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.image = tf_keras.Input((SIZE, SIZE, CHANNELS))
        self.shape = (-1, SIZE, SIZE, CHANNELS)
        self.made = [layers.Conv2D(CHANNELS, 1)(self.image)]

    def x(self):
        """A tensor to read."""
        return self.made[int(self.rng.integers(max(0, len(self.made) - RECENT), len(self.made)))]

    def number(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def one_of(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def convolved(self, x):
        activation = self.one_of(None, None, "relu", tf.nn.relu6, "swish")
        return layers.Conv2D(CHANNELS, self.one_of(1, 3), padding="same", activation=activation)(x)


def _squeeze_excite(w: Wiring):
    x = w.x()
    return x * layers.Dense(CHANNELS, activation="sigmoid")(tf.reduce_mean(x, [1, 2], keepdims=True))


def _attention(w: Wiring):
    tokens, values = (tf.reshape(w.x(), (-1, SIZE * SIZE, CHANNELS)) for _ in range(2))
    scores = tf.nn.softmax(tf.matmul(tokens, tokens, transpose_b=True))
    return tf.reshape(tf.matmul(scores, values), (-1, SIZE, SIZE, CHANNELS))


def _swapped_halves(w: Wiring):
    first, second = tf.split(w.x(), 2, -1)
    return tf.concat([second, first], -1)


def _padded(w: Wiring):
    edges = [[0, 0], [1, 1], [1, 1], [0, 0]]
    return tf.pad(w.x(), edges, constant_values=w.one_of(0.0, 0.5))[:, 1:-1, :-2, :]


def _reversed_rows(w: Wiring):
    return tf.reshape(tf.reshape(w.x(), (-1, SIZE * SIZE, CHANNELS))[:, ::-1], (-1, SIZE, SIZE, CHANNELS))


def _resized(w: Wiring):
    return layers.MaxPooling2D(2)(layers.UpSampling2D(2, interpolation=w.one_of("nearest", "bilinear"))(w.x()))


OPS: tuple[Callable[[Wiring], tf.Tensor], ...] = (
    lambda w: w.convolved(w.x()),
    lambda w: layers.DepthwiseConv2D(3, padding="same", activation=w.one_of(None, "relu"))(w.x()),
    lambda w: layers.Dense(CHANNELS, activation=w.one_of(None, "relu", "elu"))(w.x()),
    lambda w: layers.BatchNormalization()(w.x()),
    lambda w: layers.LayerNormalization()(w.x()),
    lambda w: layers.Add()([w.x(), w.x()]),
    lambda w: layers.Average()([w.x(), w.x(), w.x()]),
    lambda w: w.x() - w.x(),
    lambda w: w.x() * tf.sigmoid(w.x()),
    lambda w: w.x() * w.number(0.2, 3),
    lambda w: w.x() + w.number(-1, 1),
    lambda w: tf.square(w.x()) * 0.3,
    lambda w: tf.abs(w.x()),
    lambda w: tf.maximum(w.x(), w.x()),
    lambda w: tf.minimum(w.x(), w.x()),
    lambda w: tf.maximum(w.x(), w.number(-0.5, 0.5)),
    lambda w: tf.minimum(w.x(), w.number(-0.5, 0.5)),
    lambda w: tf.clip_by_value(w.x(), -0.7, w.number(0.3, 1)),
    lambda w: w.x() - tf.reduce_max(w.x(), [1, 2], keepdims=True),
    lambda w: w.convolved(tf.concat([w.x(), w.x()], -1)),
    lambda w: w.convolved(tf.concat([w.x(), w.x(), w.x()], -1)),
    lambda w: w.convolved(tf.concat([w.x(), tf.zeros_like(w.image[..., :1]) + 0.5], -1)),
    lambda w: tf.concat([w.x()[..., :2], w.x()[..., 2:]], -1),
    lambda w: tf.reduce_mean(tf.stack([w.x(), w.x()], 1), 1),
    lambda w: tf.reduce_max(tf.stack([w.x(), w.x()], -1), -1),
    lambda w: tf.where(w.x() > w.number(-0.2, 0.2), w.x(), w.x()),
    lambda w: tf.where(w.x() < w.x(), w.x(), w.number(-0.3, 0.3)),
    lambda w: w.x() * tf.cast(w.x() > 0.0, tf.float32),
    lambda w: layers.AveragePooling2D(3, 1, padding="same")(w.x()),
    lambda w: layers.MaxPooling2D(3, 1, padding="same")(w.x()),
    lambda w: w.one_of(tf.nn.relu, tf.nn.relu6, tf.sigmoid, tf.tanh, tf.nn.softmax)(w.x()),
    lambda w: w.one_of(tf.nn.leaky_relu, tf.nn.elu, tf.nn.gelu, tf_keras.activations.hard_sigmoid)(w.x()),
    lambda w: layers.PReLU(shared_axes=[1, 2])(w.x()),
    lambda w: tf.roll(w.x(), 1, axis=2),
    lambda w: tf.transpose(w.x(), [0, 2, 1, 3]),
    _squeeze_excite,
    _attention,
    _swapped_halves,
    _padded,
    _reversed_rows,
    _resized,
)


def _build(seed: int) -> tf_keras.Model:
    """Three to eight ops; two outputs in two graphs of five."""
    wiring = Wiring(seed)
    for _ in range(int(wiring.rng.integers(3, 9))):
        wiring.made.append(wiring.one_of(*OPS)(wiring))
    return _ended(wiring)


def _build_rare(seed: int) -> tf_keras.Model:
    """Two to four rare ops, each before one of any kind: the rare ones in turn, so that all are drawn."""
    wiring = Wiring(seed)
    for turn in range(int(wiring.rng.integers(2, 5))):
        wiring.made.append((RARE[seed % len(RARE)] if turn == 0 else wiring.one_of(*RARE))(wiring))
        wiring.made.append(wiring.one_of(*OPS)(wiring))
    return _ended(wiring)


def _ended(wiring: Wiring) -> tf_keras.Model:
    outputs = {id(wiring.made[-1]): wiring.made[-1]}
    if wiring.number(0, 1) < 0.4:
        other = wiring.made[int(wiring.rng.integers(1, len(wiring.made)))]
        outputs[id(other)] = other
    return tf_keras.Model(wiring.image, list(outputs.values()))


RANDOM = {f"random_{seed}": partial(_build, seed) for seed in range(SEEDS)}
RANDOM |= {f"random_{seed}": partial(_build_rare, seed) for seed in RARE_SEEDS}
