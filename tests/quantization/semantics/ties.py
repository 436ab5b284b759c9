"""One variable in several places stays one variable, and gets the sum of its gradients."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from ..zoo.drawing import VOCABULARY
from .listing import image, semantics, tokens, vector


class Tied(layers.Layer):
    """Scores against the rows of an Embedding layer's own table."""

    def __init__(self, embedding, **options):
        super().__init__(**options)
        self.embedding = embedding

    def call(self, x):
        return tf.matmul(x, self.embedding.embeddings, transpose_b=True)


class TiedAutoencoder(layers.Layer):
    """Encoder and decoder of one kernel, each with its own bias."""

    def build(self, shape):
        self.kernel = self.add_weight("kernel", shape=(shape[-1], 3))
        self.bias = self.add_weight("bias", shape=(3,))
        self.back = self.add_weight("bias_back", shape=shape[-1:])

    def call(self, x):
        code = tf.nn.relu(tf.matmul(x, self.kernel) + self.bias)
        return tf.matmul(code, self.kernel, transpose_b=True) + self.back


class TwoKernels(layers.Layer):
    """One kernel under a matmul and under a second one of another input."""

    def build(self, shape):
        self.kernel = self.add_weight("kernel", shape=(shape[0][-1], 4))

    def call(self, inputs):
        return tf.matmul(inputs[0], self.kernel) - tf.matmul(inputs[1], self.kernel)


@semantics()
def tied_embedding():
    """The head's kernel is the embedding's table, transposed: 80 numbers, not 160."""
    ids = tokens()
    embedding = layers.Embedding(VOCABULARY, 4)
    return tf_keras.Model(ids, Tied(embedding)(layers.Dense(4, activation="relu")(embedding(ids))))


@semantics()
def dense_called_twice():
    """One Dense layer behind itself."""
    entry = vector()
    layer = layers.Dense(6)
    return tf_keras.Model(entry, layers.Dense(2)(layer(layers.ReLU()(layer(entry)))))


@semantics()
def dense_called_on_two_inputs():
    """One Dense layer on two inputs of unlike range."""
    left, right = vector(name="left"), vector(name="right")
    layer = layers.Dense(4, activation="relu")
    return tf_keras.Model([left, right], layers.Dense(2)(layer(left) + layer(10.0 * right)))


@semantics()
def autoencoder_of_one_kernel():
    """One kernel under two matrix products, once transposed."""
    entry = vector()
    return tf_keras.Model(entry, TiedAutoencoder()(entry))


@semantics()
def kernel_under_two_operations():
    """One variable under two matrix products of two inputs."""
    left, right = vector(name="left"), vector(name="right")
    return tf_keras.Model([left, right], layers.Dense(2)(TwoKernels()([left, right])))


@semantics()
def conv_head_on_two_scales():
    """A detection head with its BatchNormalization on two feature maps: statistics move twice in a step."""
    entry = image()
    first = layers.Conv2D(4, 3, padding="same", activation="relu")(entry)
    second = layers.MaxPooling2D()(first)
    conv, norm = layers.Conv2D(4, 3, padding="same", use_bias=False), layers.BatchNormalization()
    heads = [layers.Reshape((-1, 4))(layers.ReLU()(norm(conv(x)))) for x in (first, second)]
    return tf_keras.Model(entry, layers.Concatenate(axis=1)(heads))


@semantics()
def conv_with_two_norms():
    """One convolution on two maps, a BatchNormalization for each (EfficientDet's heads)."""
    entry = image()
    first = layers.Conv2D(4, 3, padding="same", activation="relu")(entry)
    conv = layers.Conv2D(4, 3, padding="same")
    heads = [layers.BatchNormalization()(conv(x)) for x in (first, layers.MaxPooling2D()(first))]
    return tf_keras.Model(entry, layers.Concatenate(axis=1)([layers.Reshape((-1, 4))(x) for x in heads]))


@semantics()
def embedding_of_two_inputs():
    """One table for two inputs of ids."""
    left, right = (tf_keras.Input((4,), dtype="int32", name=name) for name in ("left", "right"))
    table = layers.Embedding(VOCABULARY, 4)
    x = layers.Concatenate()([layers.Flatten()(table(ids)) for ids in (left, right)])
    return tf_keras.Model([left, right], layers.Dense(2)(x))


@semantics()
def kernel_lent_to_another_layer():
    """Two Dense layers of one kernel variable, by assignment."""
    entry = vector()
    first, second = layers.Dense(6, activation="relu"), layers.Dense(6)
    x = first(entry)
    second.build(x.shape)
    second._trainable_weights = [second.bias]
    second.kernel = first.kernel
    return tf_keras.Model(entry, layers.Dense(2)(second(x)))


@semantics()
def tied_transposed_convolution():
    """A convolution and a transposed one of one kernel."""

    class Both(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight("kernel", shape=(2, 2, shape[-1], 4))

        def call(self, x):
            code = tf.nn.relu(tf.nn.conv2d(x, self.kernel, 2, "SAME"))
            return tf.nn.conv2d_transpose(code, self.kernel, tf.shape(x), 2, "SAME")

    entry = image()
    return tf_keras.Model(entry, Both()(entry))


@semantics()
def siamese_encoder():
    """A nested model with BatchNormalization called on two inputs."""
    left, right = image(name="left"), image(name="right")
    entry = image(name="shared")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(entry)))
    encoder = tf_keras.Model(entry, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)), name="encoder")
    return tf_keras.Model([left, right], layers.Dense(1)(tf.abs(encoder(left) - encoder(right))))


@semantics()
def penalty_and_constraint_of_a_tie():
    """A tied table with a penalty and a constraint: both once."""
    ids = tokens()
    embedding = layers.Embedding(
        VOCABULARY, 4, embeddings_regularizer="l2", embeddings_constraint=tf_keras.constraints.MaxNorm(0.1, axis=1)
    )
    return tf_keras.Model(ids, Tied(embedding)(layers.Dense(4, activation="relu")(embedding(ids))))
