"""Layers that another layer calls in training alone, between those that it calls in both modes."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from .listing import semantics, vector


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
