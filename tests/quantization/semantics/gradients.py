"""Gradients that are not the forward pass's: stopped, turned round, straight through, computed otherwise."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from .listing import image, semantics, vector


@tf.custom_gradient
def reversed_gradient(x):
    return tf.identity(x), lambda upstream: -0.5 * upstream


@tf.custom_gradient
def straight_through_sign(x):
    return tf.sign(x), lambda upstream: upstream * tf.cast(tf.abs(x) <= 1, upstream.dtype)


@tf.custom_gradient
def memory_saving_swish(x):
    def gradient(upstream):
        gate = tf.sigmoid(x)
        return upstream * gate * (1 + x * (1 - gate))

    return x * tf.sigmoid(x), gradient


@tf.custom_gradient
def clipped_gradient(x):
    return tf.identity(x), lambda upstream: tf.clip_by_value(upstream, -0.001, 0.001)


class Reversal(layers.Layer):
    def call(self, x):
        return reversed_gradient(x)


class Binary(layers.Layer):
    """A Dense layer whose kernel is binary in the forward pass, with latent float weights."""

    def build(self, shape):
        self.kernel = self.add_weight("kernel", shape=(shape[-1], 4))

    def call(self, x):
        return tf.matmul(x, straight_through_sign(self.kernel))


def _two_layers(between):
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(between(layers.Dense(5)(entry))))


@semantics()
def stop_gradient():
    """tf.stop_gradient in a Lambda: the layer in front of it is a variable without gradient."""
    return _two_layers(layers.Lambda(tf.stop_gradient))


@semantics()
def stop_gradient_on_one_branch():
    """A gate that is read but not trained through, beside the branch that is."""
    entry = vector()
    x = layers.Dense(5, activation="relu")(entry)
    return tf_keras.Model(entry, layers.Dense(2)(x * tf.stop_gradient(tf.sigmoid(x))))


@semantics()
def stop_gradient_of_a_kernel():
    """A variable that a stopped gradient reads, and another that a plain one reads, in one layer."""

    class Head(layers.Layer):
        def build(self, shape):
            self.fixed = self.add_weight("fixed", shape=(shape[-1], 3))
            self.free = self.add_weight("free", shape=(shape[-1], 3))

        def call(self, x):
            return tf.matmul(x, tf.stop_gradient(self.fixed)) + tf.matmul(x, self.free)

    return _two_layers(lambda x: Head()(layers.ReLU()(x)))


@semantics()
def siamese_with_stopped_target():
    """Two branches of one encoder, one of them stopped (SimSiam)."""
    left, right = vector(name="left"), vector(name="right")
    encoder = tf_keras.Sequential([layers.Dense(5, activation="relu"), layers.Dense(4)], name="encoder")
    predictor = layers.Dense(4, name="predictor")
    distance = layers.Subtract()([predictor(encoder(left)), tf.stop_gradient(encoder(right))])
    return tf_keras.Model([left, right], distance)


@semantics()
def gradient_reversal():
    """Gradient reversal by tf.custom_gradient in front of a domain head; the class head learns as usual."""
    entry = vector()
    x = layers.Dense(5, activation="relu")(entry)
    return tf_keras.Model(entry, [layers.Dense(3, name="kind")(x), layers.Dense(2, name="domain")(Reversal()(x))])


@semantics()
def straight_through_activations():
    """sign with a straight-through gradient between two Dense layers."""
    return _two_layers(layers.Lambda(straight_through_sign))


@semantics()
def straight_through_kernel():
    """A kernel that is binary in the forward pass: the latent weights are what is trained."""
    return _two_layers(lambda x: Binary()(layers.ReLU()(x)))


@semantics()
def straight_through_by_stop_gradient():
    """x + stop_gradient(round(x) - x)."""
    return _two_layers(lambda x: x + tf.stop_gradient(tf.round(x) - x))


@semantics()
def swish_that_saves_memory():
    """Swish with a gradient of its own (EfficientNet's first code)."""
    entry = image()
    x = layers.Lambda(memory_saving_swish)(layers.Conv2D(4, 3)(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@semantics()
def swish_of_tensorflow():
    """tf.nn.silu and Keras' swish, which are custom gradients inside."""
    entry = image()
    x = layers.Activation("swish")(layers.Conv2D(4, 3)(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(tf.nn.silu(x))))


@semantics()
def clipped_between():
    """A gradient that is clipped on its way."""
    return _two_layers(layers.Lambda(clipped_gradient))


@semantics()
def stated_gradient_of_a_variable():
    """A tf.custom_gradient of a function that reads a variable states the variable's gradient, too: three times it."""

    class Stated(layers.Layer):
        def build(self, shape):
            self.factor = self.add_weight("factor", (shape[-1],), initializer="ones")

        def call(self, x):
            @tf.custom_gradient
            def scaled(x):
                def gradient(upstream, variables=None):
                    return 2.0 * upstream * self.factor, [3.0 * tf.reduce_sum(upstream * x, axis=0)]

                return x * self.factor, gradient

            return scaled(x)

    return _two_layers(Stated())


@semantics()
def recomputed_block():
    """tf.recompute_grad around a block (gradient checkpointing)."""

    class Block(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = layers.Dense(5, activation="relu")

        def build(self, shape):
            self.inner.build(shape)
            super().build(shape)

        def call(self, x):
            return tf.recompute_grad(self.inner)(x)

    return _two_layers(Block())
