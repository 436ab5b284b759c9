"""Whole numbers and unread inputs need no float in the file."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read, verify


def model_of_counts(dtype):
    counts = tf_keras.Input((6,), name="counts", dtype=dtype)
    return tf_keras.Model(counts, tf_keras.layers.Dense(3)(tf.cast(counts, tf.float32)))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_whole_numbers_made_real_in_the_model_become_codes_at_once(dtype):
    model = model_of_counts(dtype)
    counts = np.random.default_rng(0).integers(0, 200, (128, 6)).astype(dtype)
    content = convert(model, calibration=counts)
    assert verify(content).integer_only
    assert verify(content).input_dtypes == (dtype,)
    expected = model.predict(counts, verbose=0)
    assert np.abs(Interpreter(content).predict(counts) - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_an_input_on_two_grids_keeps_each_for_its_readers(io):
    x = tf_keras.Input((8, 8, 3), name="image")
    coarse = tf_keras.layers.Conv2D(4, 3, padding="same")(x) * 5.0
    model = tf_keras.Model(x, tf_keras.layers.Conv2D(4, 3)(tf_keras.layers.Concatenate()([x, coarse])))
    rows = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)
    quantized = quantize_model(model, rows)
    step = read(convert(quantized)).outputs[0].scales[0]
    away = Interpreter(convert(quantized, io=io)).predict(rows) - quantized.predict(rows, verbose=0)
    assert np.abs(away).max() < step / 2


def test_an_input_that_nothing_reads_takes_the_dtype_of_the_others():
    read, unread = tf_keras.Input((6,), name="read"), tf_keras.Input((4,), name="unread")
    model = tf_keras.Model([read, unread], tf_keras.layers.Dense(3)(read))
    samples = [np.random.default_rng(0).normal(size=(128, size)).astype(np.float32) for size in (6, 4)]
    assert verify(convert(model, calibration=samples)).input_dtypes == ("int8", "int8")
    assert verify(convert(model, calibration=samples, io="float32")).input_dtypes == ("float32", "float32")
