"""Activations that users round themselves: straight-through estimators, of their own layers and of the papers."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

LEVELS = 15.0  # steps of 4 bits


def estimated(x):
    """Rounded, with the gradient of x."""
    return x + tf.stop_gradient(tf.round(x) - x)


@tf.custom_gradient
def passed_on(x):
    return tf.round(x), lambda upstream: upstream


class DoReFa(layers.Layer):
    """Codes of a number of bits between 0 and 1 (Zhou et al. 2016)."""

    def __init__(self, bits=4, **options):
        super().__init__(**options)
        self.steps = 2.0**bits - 1

    def call(self, x):
        return estimated(tf.clip_by_value(x, 0.0, 1.0) * self.steps) / self.steps


class Pact(layers.Layer):
    """4 bits between 0 and an end that is trained (Choi et al. 2018)."""

    def build(self, shape):
        self.end = self.add_weight("end", shape=(), initializer=tf_keras.initializers.Constant(2.0))

    def call(self, x):
        clipped = 0.5 * (tf.abs(x) - tf.abs(x - self.end) + self.end)
        return passed_on(clipped * (LEVELS / self.end)) * (self.end / LEVELS)


class Lsq(layers.Layer):
    """4 bits of a step that is trained (Esser et al. 2020)."""

    def build(self, shape):
        self.step = self.add_weight("step", shape=(), initializer=tf_keras.initializers.Constant(0.25))

    def call(self, x):
        return estimated(tf.clip_by_value(x / self.step, -8.0, 7.0)) * self.step


def _convolutions(activation):
    def build():
        image = x = tf_keras.Input((8, 8, 3), name="image")
        for filters in (4, 6):
            x = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x))
            x = activation()(x)
        return tf_keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))

    return build


def _lambda(function):
    return _convolutions(lambda: layers.Lambda(function))


ROUNDING = {
    "rounded": _lambda(tf.round),
    "rounded_to_even": _lambda(lambda x: tf.math.rint(x * 4.0) / 4.0),
    "rounded_straight_through": _lambda(lambda x: 0.5 * estimated(x / 0.5)),
    "rounded_straight_through_by_difference": _lambda(lambda x: x - tf.stop_gradient(x - tf.round(x))),
    "rounded_straight_through_by_parts": _lambda(lambda x: (x - tf.stop_gradient(x)) + tf.stop_gradient(tf.round(x))),
    "rounded_then_clipped": _lambda(lambda x: tf.clip_by_value(estimated(x * 8.0), 0.0, LEVELS) / 8.0),
    "rounded_and_output": _lambda(lambda x: estimated(x) + tf.nn.relu(x)),
    "dorefa": _convolutions(DoReFa),
    "dorefa_of_8_bits": _convolutions(lambda: DoReFa(8)),
    "pact": _convolutions(Pact),
    "lsq": _convolutions(Lsq),
}
