"""How a model is written: subclassed, nested in dictionaries, with layers of the user's own."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from .listing import image, semantics, vector


class Network(tf_keras.Model):
    """A subclassed model with BatchNormalization, Dropout, penalties and a loss of its own."""

    def __init__(self, rate=0.0):
        super().__init__(name="network")
        self.conv = layers.Conv2D(4, 3, kernel_regularizer="l2", name="conv")
        self.norm = layers.BatchNormalization(name="norm")
        self.drop = layers.Dropout(rate, name="drop")
        self.head = layers.Dense(2, name="head")

    def call(self, x, training=None):
        x = tf.nn.relu(self.norm(self.conv(x), training=training))
        x = self.drop(tf.reduce_mean(x, axis=[1, 2]), training=training)
        self.add_loss(0.1 * tf.reduce_mean(tf.square(x)))
        return self.head(x)


class Block(layers.Layer):
    """A residual block as a layer of layers; `training` goes on to them."""

    def __init__(self, units=6, **options):
        super().__init__(**options)
        self.units = units
        self.first, self.second = layers.Dense(units), layers.Dense(units)
        self.norm = layers.BatchNormalization()
        self.drop = layers.Dropout(0.3)

    def build(self, shape):
        self.first.build(shape)
        self.second.build(shape)
        self.norm.build(shape)
        super().build(shape)

    def call(self, x, training=None):
        y = self.drop(tf.nn.relu(self.norm(self.first(x), training=training)), training=training)
        return x + self.second(y)


class Recipe(tf_keras.Model):
    """A model subclass of a functional graph."""


@semantics()
def subclassed():
    """A subclassed model: its variables in its order, its penalties and its added loss."""
    model = Network()
    model(tf_keras.Input((8, 8, 3)))
    return model


@semantics()
def subclassed_with_dropout():
    """A subclassed model that drops in training."""
    model = Network(0.4)
    model(tf_keras.Input((8, 8, 3)))
    return model


@semantics()
def subclassed_in_functional():
    """A subclassed model called on an Input."""
    entry = image()
    return tf_keras.Model(entry, Network()(entry))


@semantics()
def subclass_of_functional():
    """A model subclass that is built from inputs and outputs."""
    entry = vector()
    return Recipe(entry, layers.Dense(2, kernel_regularizer="l2")(layers.Dense(5, activation="relu")(entry)))


@semantics()
def layer_of_layers():
    """A layer that holds others, with BatchNormalization and Dropout, twice."""
    entry = vector()
    return tf_keras.Model(entry, layers.Dense(2)(Block()(Block()(entry))))


@semantics()
def dictionaries():
    """Inputs and outputs by name, in an order that is not the alphabet's."""
    entries = {"width": vector(3, "width"), "age": vector(2, "age")}
    x = layers.Dense(6, activation="relu")(layers.Concatenate()([entries["width"], entries["age"]]))
    outputs = {"score": layers.Dense(2, name="score")(x), "kind": layers.Dense(3, "softmax", name="kind")(x)}
    return tf_keras.Model(entries, outputs)


@semantics()
def lists_of_outputs():
    """Two inputs and three outputs, one of which is inside."""
    left, right = vector(name="left"), vector(name="right")
    x = layers.Dense(5, activation="relu", name="inside")(layers.Subtract()([left, right]))
    return tf_keras.Model([left, right], [x, layers.Dense(2, name="first")(x), layers.Dense(1, name="second")(x)])


@semantics()
def sequential():
    """A Sequential model of the usual layers."""
    return tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 3), name="image"),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(3, activation="softmax"),
        ]
    )


@semantics()
def attention():
    """MultiHeadAttention: eight variables of three and two axes under their own names."""
    entry = tf_keras.Input((5, 4), name="series")
    x = layers.LayerNormalization()(entry + layers.MultiHeadAttention(2, 3)(entry, entry))
    return tf_keras.Model(entry, layers.Dense(2)(x))


@semantics()
def einsum_dense():
    """EinsumDense with a kernel of three axes."""
    entry = tf_keras.Input((5, 4), name="series")
    x = layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de")(entry)
    return tf_keras.Model(entry, layers.Dense(2)(tf.nn.relu(tf.reduce_mean(x, axis=2))))
