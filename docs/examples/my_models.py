"""A model that cannot become an integer file: two of its ops have no integer form in TFLite."""

import tensorflow as tf
import tf_keras


def spectral(input_shape, classes):
    images = tf_keras.Input(input_shape, name="image")
    x = tf_keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(images)
    x = tf_keras.layers.Lambda(tf.sin, name="wave")(x)
    x = tf_keras.layers.Reshape((*input_shape[:2], 8, 1), name="volume")(x)
    x = tf_keras.layers.Conv3D(4, 3, name="cube")(x)
    x = tf_keras.layers.Flatten(name="flat")(x)
    return tf_keras.Model(images, tf_keras.layers.Dense(classes, activation="softmax", name="probabilities")(x))
