"""Operands that 8 bits hold too coarsely for what follows are said by layer."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


def model_of(function):
    entry = tf_keras.Input((6,))
    x = layers.Dense(8, kernel_initializer=tf_keras.initializers.RandomUniform(-1, 1, seed=0))(entry)
    return tf_keras.Model(entry, function(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.math.log(tf.square(x) + 1e-9),
        lambda x: 1.0 / (tf.square(tf.square(x)) + 1e-4),
        lambda x: tf.exp(-50.0 * tf.square(x)),
    ],
    ids=["log", "div", "exp"],
)
def test_small_numbers_in_front_of_a_steep_function_are_said(function):
    with pytest.warns(UserWarning, match=r"numbers that 8 bits do not tell .* dB SQNR"):
        quantize_model(model_of(function), ROWS)


@pytest.mark.parametrize(
    "function",
    [lambda x: tf.math.log(tf.square(x) + 0.1), lambda x: x / (1.0 + tf.abs(x)), lambda x: tf.exp(x)],
    ids=["log", "div", "exp"],
)
def test_numbers_that_codes_tell_apart_are_not(function):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*8 bits do not tell")
        quantize_model(model_of(function), ROWS)


def test_outputs_that_are_lost_before_training_are_said():
    with pytest.warns(
        UserWarning, match=r"output '.+' of the quantized model is at .* before any training: .*'tf.math.log"
    ):
        quantize_model(model_of(lambda x: tf.math.log(tf.square(x) + 1e-9)), ROWS)
