"""Sums that are tiny next to what is added: LiteRT's kernel would end the process."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import ModelError
from qat.quantization import quantize_model
from qat.quantization.keras.range_layer import RangeLayer
from qat.tflite import Interpreter, convert

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


@pytest.fixture
def dead():
    """The variance of a dead layer is 0 everywhere; what is added to it is 1.5e-6."""
    entry = tf_keras.Input((6,))
    hidden = layers.Dense(8, kernel_initializer="zeros")(entry)
    return quantize_model(tf_keras.Model(entry, layers.LayerNormalization(epsilon=1.5e-6)(hidden)), ROWS)


def test_a_normalization_of_a_dead_layer_has_a_file(dead):
    np.testing.assert_allclose(
        Interpreter(convert(dead)).predict(ROWS), dead.predict(ROWS, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_a_sum_that_no_kernel_reaches_is_refused_by_its_layer(dead):
    sums = next(each for each in dead.layers if isinstance(each, RangeLayer) and each.name.endswith("--add--range"))
    sums.set_range(0.0, 1e-9)
    with pytest.raises(ModelError, match=r"--add.*no integer kernel can rescale"):
        convert(dead)


def step_of(factor):
    entry = tf_keras.Input((6,))
    left, right = layers.Dense(4)(entry), layers.Dense(4)(entry)
    step = tf.clip_by_value((left - right) * factor + 0.5, 0.0, 1.0)
    return quantize_model(tf_keras.Model(entry, layers.Dense(2)(step)), ROWS)


@pytest.mark.parametrize("factor", [1e3, 1e4])
def test_a_steep_step_is_in_the_file_what_it_is_in_the_model(factor):
    quantized = step_of(factor)
    np.testing.assert_allclose(Interpreter(convert(quantized)).predict(ROWS), quantized.predict(ROWS), rtol=1e-5)


def test_a_step_that_no_kernel_reaches_is_refused_by_its_layer():
    with pytest.raises(ModelError, match="a steep step"):
        convert(step_of(1e6))


def test_a_square_that_no_kernel_reaches_is_refused_by_its_layer():
    entry = tf_keras.Input((6,))
    left, right = layers.Dense(4)(entry), layers.Dense(4)(entry)
    square = tf.clip_by_value(tf.math.squared_difference(left, right), 0.0, 1e-7)
    quantized = quantize_model(tf_keras.Model(entry, layers.Dense(2)(square * 1e6)), ROWS)
    with pytest.raises(ModelError, match="no integer kernel can rescale"):
        convert(quantized)
