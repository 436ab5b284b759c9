"""A model of somebody's, for `model=user`."""

import tensorflow as tf
import tf_keras


def with_a_sine(input_shape, classes):
    """TFLite has no integer kernel for the sine."""
    inputs = tf_keras.Input(input_shape)
    x = tf_keras.layers.GlobalAveragePooling2D()(inputs)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(classes, activation="softmax")(tf.sin(x)))


def with_scaling_inside(input_shape, classes):
    """As Keras' guides teach; stock tfmot does not take it."""
    layers = tf_keras.layers
    inputs = tf_keras.Input(input_shape)
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(layers.Rescaling(2.0, name="scaling")(inputs))
    x = layers.Dense(classes, activation="softmax", name="probabilities")(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(inputs, x, name="scaled_inside")
