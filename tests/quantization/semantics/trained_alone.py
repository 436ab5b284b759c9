"""Layers that another layer calls in training alone, or for the sake of their statistics alone."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from .listing import image, semantics, vector


class NoisyGate(layers.Layer):
    """The gate of a mixture of experts (Shazeer et al. 2017): in training its logits get noise of a learned size.

    `sampled` draws the noise; without it it is a constant, so that gradients can be compared.
    """

    def __init__(self, sampled=False, **options):
        super().__init__(**options)
        self.sampled = sampled
        self.gate, self.noise = layers.Dense(3), layers.Dense(3)
        self.experts = [layers.Dense(4, activation="relu") for _ in range(3)]

    def build(self, shape):
        for layer in (self.gate, self.noise, *self.experts):
            layer.build(shape)
        super().build(shape)

    def call(self, x, training=None):
        logits = self.gate(x)
        if training:
            size = tf.random.normal(tf.shape(logits)) if self.sampled else 0.3
            logits += size * tf.nn.softplus(self.noise(x))
        weights = tf.nn.softmax(logits)
        self.add_loss(0.1 * tf.reduce_sum(tf.reduce_mean(weights, 0) ** 2))
        return tf.reduce_sum(tf.stack([expert(x) for expert in self.experts], 1) * weights[..., None], 1)


class Detour(layers.Layer):
    """In training its input goes through one more layer, with statistics of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first, self.last = layers.Dense(6), layers.Dense(4)
        self.extra = tf_keras.Sequential([layers.Dense(6), layers.BatchNormalization(), layers.ReLU()])

    def build(self, shape):
        for layer in (self.first, self.last, self.extra):
            layer.build((None, 6))
        super().build(shape)

    def call(self, x, training=None):
        x = self.first(x)
        if training:
            x += self.extra(x, training=True)
        return self.last(tf.nn.relu(x))


class CalledAgain(layers.Layer):
    """In training one layer is called once more, on what it has made."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = layers.Dense(6)

    def call(self, x, training=None):
        y = self.dense(x)
        return 0.5 * y + 0.5 * self.dense(tf.nn.relu(y)) if training else y


def _between(layer):
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(layer(entry)))


@semantics()
def gate_with_noise_of_a_learned_size():
    """Once warned of, and trained as at inference: the noise's own kernel had no gradient."""
    return _between(NoisyGate())


@semantics(silenceable=False)
def gate_with_sampled_noise():
    """Drawn anew in each step."""
    return _between(NoisyGate(sampled=True))


@semantics()
def detour_in_training():
    """Its layers are trained, its statistics move."""
    return _between(Detour())


@semantics()
def layer_called_again_in_training():
    """Its variables have the gradients of both calls."""
    return _between(CalledAgain())


class Discarding(layers.Layer):
    """Shows its normalization more rows than it gives on."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense, self.norm = layers.Dense(4), layers.BatchNormalization(momentum=0.8)

    def call(self, x):
        y = self.norm(self.dense(x))
        self.norm(self.dense(2.0 * x + 1.0))
        return y


@semantics()
def norm_whose_result_is_discarded():
    """Its statistics move by both calls, in this order; once by the first alone, without a word."""
    return _between(Discarding())


@semantics()
def branch_without_an_output():
    """Of a base with two outputs one is read: the statistics of the other branch move too."""
    x = layers.Conv2D(4, 3)(entry := image())
    wide, narrow = (layers.BatchNormalization()(layers.Conv2D(size, 3)(x)) for size in (4, 2))
    base = tf_keras.Model(entry, [wide, narrow], name="base")
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(base(entry)[0])))


@semantics()
def time_distributed_model_with_norm():
    """Keras runs the inner model a second time for its masks, which moves the statistics twice in each step."""
    inner = [layers.Conv2D(3, 3), layers.BatchNormalization(momentum=0.8), layers.ReLU(), layers.Flatten()]
    frames = layers.TimeDistributed(tf_keras.Sequential(inner))(entry := tf_keras.Input((3, 6, 6, 1)))
    return tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(frames)))
