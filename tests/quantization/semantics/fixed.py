"""Layers called on what does not depend on the input: variables, constants, queries repeated for each sample."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .listing import semantics, series, vector


class OnVariable(layers.Layer):
    """x times what layers make of a variable of one sample, [1, steps, channels], summed over the steps."""

    def __init__(self, **options):
        super().__init__(**options)
        self.members = self.make()

    def build(self, shape):
        self.latents = self.add_weight("latents", shape=(1, 5, shape[-1]))

    def call(self, x):
        made = tf.convert_to_tensor(self.latents)
        for member in self.members:
            made = member(made, made) if isinstance(member, layers.MultiHeadAttention) else member(made)
        weights = tf.reshape(tf.range(1.0, made.shape[-1] + 1.0), (1, 1, -1))
        return x * tf.reduce_sum(made * tf.cast(weights, made.dtype), 1)


class NormalizedClasses(layers.Layer):
    """A head whose class vectors are normalized by their own statistics in training."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.BatchNormalization(momentum=0.6)

    def build(self, shape):
        self.classes = self.add_weight("classes", shape=(shape[-1], 4))

    def call(self, x, training=None):
        return tf.matmul(x, self.norm(tf.convert_to_tensor(self.classes), training=training))


class Queries(layers.Layer):
    """Queries that are learned, the same for each sample, and attend to the input."""

    def __init__(self, **options):
        super().__init__(**options)
        self.members, self.attention = self.make(), layers.MultiHeadAttention(2, 3)

    def build(self, shape):
        self.queries = self.add_weight("queries", shape=(1, 3, shape[-1]))

    def call(self, x):
        made = tf.tile(tf.convert_to_tensor(self.queries), (tf.shape(x)[0], 1, 1))
        for member in self.members:
            made = member(made)
        return self.attention(made, x)


def _between(layer):
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(layer(layers.Dense(6, activation="relu")(entry))))


def _asked(layer):
    entry = series()
    x = layer(layers.Dense(4)(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(x)))


@semantics()
def norm_over_weights():
    """BatchNormalization of a variable: by the variable's own moments in training, which move its statistics."""
    return _between(NormalizedClasses())


class ConvolutionAndNorm(OnVariable):
    def make(self):
        return [layers.Conv1D(6, 3, padding="same"), layers.BatchNormalization(momentum=0.6)]


@semantics()
def convolution_and_norm_on_a_variable():
    """A convolution and its BatchNormalization, called on a variable."""
    return _between(ConvolutionAndNorm())


class NormalizedQueries(Queries):
    def make(self):
        return [layers.BatchNormalization(momentum=0.6)]


@semantics()
def norm_of_repeated_queries():
    """BatchNormalization of queries that are the same for each sample, in front of a layer that attends with them."""
    return _asked(NormalizedQueries())


class Dropouts(OnVariable):
    def make(self):
        return [layers.Dropout(0.4), layers.Dense(6), layers.SpatialDropout1D(0.4), layers.GaussianNoise(0.1)]


@semantics()
def dropouts_on_a_variable():
    """Dropout of every kind on a variable, with other layers between."""
    return _between(Dropouts())


class DroppedQueries(Queries):
    def make(self):
        return [layers.Dense(4), layers.Dropout(0.5)]


@semantics()
def dropout_of_repeated_queries():
    """Dropout of queries that are the same for each sample: each sample has a mask of its own."""
    return _asked(DroppedQueries())


class Recurrent(OnVariable):
    def make(self):
        return [layers.LSTM(6, return_sequences=True)]


@semantics()
def lstm_on_a_variable():
    """An LSTM as Keras makes it by default on a variable."""
    return _between(Recurrent())


class Attentive(OnVariable):
    def make(self):
        return [layers.MultiHeadAttention(2, 3, dropout=0.3), layers.LayerNormalization()]


@semantics()
def attention_on_a_variable():
    """A variable that attends to itself, with dropout."""
    return _between(Attentive())


class KernelByNetwork(layers.Layer):
    """A depthwise kernel that a small network makes of constant places, as Hyena's filters are."""

    def __init__(self, **options):
        super().__init__(**options)
        waves = layers.Lambda(lambda x: tf.sin(2.0 * x))
        self.network = tf_keras.Sequential([layers.Dense(5), waves, layers.LayerNormalization(), layers.Dense(4)])

    def build(self, shape):
        self.network.build((None, 1))

    def call(self, x):
        places = tf.constant(np.linspace(0, 1, 3)[:, None], self.compute_dtype)
        kernel = tf.reshape(self.network(places), (3, 1, 4, 1))
        return tf.nn.depthwise_conv2d(x[:, :, None], kernel, [1, 1, 1, 1], "SAME")[:, :, 0]


@semantics()
def kernel_by_a_small_network():
    """Variables of the network are trained, no kernel is."""
    return _asked(KernelByNetwork())
