"""One layer called as the model is trained and called for inference: momentum encoders, target networks."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from .listing import image, semantics, series, vector


def _two_images():
    return image(name="online"), image(name="target")


@semantics()
def tower_called_in_both_modes():
    """tower(a) and tower(b, training=False): the batch's statistics for a, the moving ones for b."""
    entry, (online, target) = image(name="tower_image"), _two_images()
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.7)(layers.Conv2D(4, 3)(entry)))
    tower = tf_keras.Model(entry, layers.GlobalAveragePooling2D()(x), name="tower")
    return tf_keras.Model([online, target], layers.Add()([tower(online), tower(target, training=False)]))


@semantics()
def tower_called_for_inference_first():
    """The same in the other order, of a depthwise convolution."""
    entry, (online, target) = image(name="tower_image"), _two_images()
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.7)(layers.DepthwiseConv2D(3)(entry)))
    tower = tf_keras.Model(entry, layers.GlobalAveragePooling2D()(x), name="tower")
    still = tower(target, training=False)
    return tf_keras.Model([online, target], layers.Subtract()([tower(online), still]))


@semantics()
def norm_called_in_both_modes_behind_one_layer():
    """norm(x) and norm(x, training=False) of the same Dense layer on two inputs."""
    online, target = vector(name="online"), vector(name="target")
    dense, norm = layers.Dense(5), layers.BatchNormalization(momentum=0.7)
    return tf_keras.Model([online, target], [norm(dense(online)), norm(dense(target), training=False)])


class Siamese(tf_keras.Model):
    """A Sequential without an Input, called in both modes: Keras connects its layers anew in the first such call."""

    def __init__(self):
        super().__init__(name="siamese")
        self.tower = tf_keras.Sequential([layers.Dense(5), layers.BatchNormalization(momentum=0.7)])
        self.head = layers.Dense(2)

    def call(self, x, training=None):
        return self.head(self.tower(x, training=training) + self.tower(-x, training=False))


@semantics()
def sequential_called_in_both_modes_by_a_model_of_its_own():
    """Calls in which Keras connects a Sequential are no calls of the model: each keeps its mode."""
    model = Siamese()
    model(tf.ones((2, 6)))
    return model


@semantics()
def lstm_called_in_both_modes():
    """lstm(a) drops, lstm(b, training=False) does not: two calls with one set of variables."""
    online, target = series(), tf_keras.Input((5, 4), name="target")
    lstm = layers.LSTM(3, dropout=0.5)
    return tf_keras.Model([online, target], layers.Add()([lstm(online), lstm(target, training=False)]))
