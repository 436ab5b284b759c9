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


def with_augmentation_inside(input_shape, classes):
    """As Keras' guides teach: random layers in front, which act in training only."""
    layers = tf_keras.layers
    inputs = tf_keras.Input(input_shape)
    x = layers.RandomFlip("horizontal", seed=1, name="flip")(inputs)
    x = layers.RandomRotation(0.1, fill_mode="constant", seed=2, name="turn")(x)
    x = layers.RandomZoom(0.2, fill_mode="constant", seed=3, name="zoom")(x)
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    x = layers.Dropout(0.2, seed=4)(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(inputs, layers.Dense(classes, activation="softmax", name="probabilities")(x))
