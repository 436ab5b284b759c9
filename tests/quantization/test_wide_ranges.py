"""Numbers that differ and become one code are said by layer."""

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
    return tf_keras.Model(entry, function(layers.Dense(8, name="scores")(entry)))


def test_numbers_next_to_one_that_means_none_are_said():
    model = model_of(lambda x: tf.sigmoid(tf.where(x > 3.0, -20000.0, x)))
    with pytest.warns(UserWarning, match=r"from -\d.* to .* of them, which differ, become one code"):
        quantize_model(model, np.concatenate([ROWS, ROWS[:1] * 100]))


@pytest.mark.parametrize(
    "function",
    [lambda x: x * 100.0, lambda x: tf.nn.softmax(tf.where(x > 0.0, x, -1e9)), lambda x: tf.nn.relu(x - 5.0) * 500.0],
    ids=["wide", "masked", "mostly zero"],
)
def test_what_keeps_its_numbers_apart_is_not(function):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*become one code")
        quantize_model(model_of(function), ROWS)


def test_a_number_that_many_rows_have_hides_no_others():
    """Rows of padding, divided by their sum."""
    series = np.random.default_rng(0).normal(size=(128, 8, 6)).astype(np.float32)
    series[:, 5:] = 0.0
    entry = tf_keras.Input((8, 6))
    share = 1.0 / (tf.reduce_sum(tf.square(entry), axis=-1, keepdims=True) + 1e-6)
    with pytest.warns(UserWarning, match="of them, which differ, become one code"):
        quantize_model(tf_keras.Model(entry, entry * share), series)
