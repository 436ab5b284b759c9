"""Numbers that 8 bits hold too coarsely are named: samples that take the codes of all others, numbers that become one
code, and operands of steep functions."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.calibration_data import InputSpec, as_batches
from qat.quantization import quantize_model
from qat.quantization.calibration_warnings import warn_of_outliers

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
RNG = np.random.default_rng(0)
USUAL = RNG.normal(size=(200, 6)).astype(np.float32)
SPARSE = (RNG.random((200, 50)) < 0.01).astype(np.float32)
WIDE = np.exp(RNG.normal(size=(200, 6))).astype(np.float32)
SPECS = [InputSpec("x", (None,), "float32")]


def test_a_sample_far_beyond_the_others_is_named():
    spoiled = USUAL.copy()
    spoiled[[70, 150], 2] = 4000, -900
    with pytest.warns(
        UserWarning, match=r"sample 70 and 1 more .* for 'x' reaches 4000, and 95% .*Leave out such samples"
    ):
        warn_of_outliers(as_batches(spoiled, SPECS), SPECS)


@pytest.mark.parametrize("rows", [USUAL, SPARSE, WIDE], ids=["normal", "sparse", "wide"])
def test_usual_data_passes_in_silence(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_outliers(as_batches(rows, SPECS), SPECS)


def test_ids_are_no_sizes():
    ids = np.ones((200, 4), np.int32)
    ids[3] = 30_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_outliers(as_batches(ids, [InputSpec("ids", (4,), "int32")]), [InputSpec("ids", (4,), "int32")])


def scores_of(function):
    entry = tf_keras.Input((6,))
    return tf_keras.Model(entry, function(layers.Dense(8, name="scores")(entry)))


def test_numbers_next_to_one_that_means_none_are_said():
    model = scores_of(lambda x: tf.sigmoid(tf.where(x > 3.0, -20000.0, x)))
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
        quantize_model(scores_of(function), ROWS)


def test_a_number_that_many_rows_have_hides_no_others():
    """Rows of padding, divided by their sum."""
    series = np.random.default_rng(0).normal(size=(128, 8, 6)).astype(np.float32)
    series[:, 5:] = 0.0
    entry = tf_keras.Input((8, 6))
    share = 1.0 / (tf.reduce_sum(tf.square(entry), axis=-1, keepdims=True) + 1e-6)
    with pytest.warns(UserWarning, match="of them, which differ, become one code"):
        quantize_model(tf_keras.Model(entry, entry * share), series)


def steep_of(function):
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
        quantize_model(steep_of(function), ROWS)


@pytest.mark.parametrize(
    "function",
    [lambda x: tf.math.log(tf.square(x) + 0.1), lambda x: x / (1.0 + tf.abs(x)), lambda x: tf.exp(x)],
    ids=["log", "div", "exp"],
)
def test_numbers_that_codes_tell_apart_are_not(function):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*8 bits do not tell")
        quantize_model(steep_of(function), ROWS)


def test_outputs_that_are_lost_before_training_are_said():
    with pytest.warns(
        UserWarning, match=r"output '.+' of the quantized model is at .* before any training: .*'tf.math.log"
    ):
        quantize_model(steep_of(lambda x: tf.math.log(tf.square(x) + 1e-9)), ROWS)
