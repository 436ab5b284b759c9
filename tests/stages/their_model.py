"""A model of somebody's, for `model=user`."""

import tensorflow as tf
import tf_keras


def with_a_sine(input_shape, classes):
    """TFLite has no integer kernel for the sine."""
    inputs = tf_keras.Input(input_shape)
    x = tf_keras.layers.GlobalAveragePooling2D()(inputs)
    return tf_keras.Model(inputs, tf_keras.layers.Dense(classes, activation="softmax")(tf.sin(x)))
