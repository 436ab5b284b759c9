"""Rounding to integers: codes of scale 1, and straight-through estimators that users write."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.errors import UnsupportedLayerError
from qat.quantization import quantize_model
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.rewrites import rounding
from qat.tflite import Interpreter, convert
from qat.tflite.reader import read

from ..zoo.rounding import ROUNDING, Lsq, estimated
from .acting import Case, check, flat

CASES = [
    Case(rounding.straight_through, flat(function), gone=("stop_gradient", "sub"), there=("custom_gradient", "round"))
    for function in (
        estimated,
        lambda x: tf.stop_gradient(tf.round(x) - x) + x,
        lambda x: x - tf.stop_gradient(x - tf.round(x)),
        lambda x: (x - tf.stop_gradient(x)) + tf.stop_gradient(tf.round(x)),
    )
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)


def rounded(low, high, function=tf.round):
    """A model that rounds numbers of [low, high], and these numbers."""
    entry = tf_keras.Input((4,), name="line")
    model = tf_keras.Model(entry, layers.Lambda(function, name="rounding")(entry))
    return model, np.linspace(low, high, 512, dtype=np.float32).reshape(128, 4)


def test_a_difference_that_is_no_estimator_stays():
    model, rows = rounded(-3, 3, lambda x: x + tf.stop_gradient(tf.round(x) - 2.0 * x))
    found = quantize_model(model, rows).predict(rows, verbose=0)
    assert np.mean(np.abs(found - (np.rint(rows) - rows)) < 0.1) > 0.99  # but where an input's code lies across a half


@pytest.mark.parametrize("high", [15.875, 17.5])  # the code of 0 is 0, or an odd number
def test_halves_go_to_the_even_number_in_model_and_file(high):
    model, rows = rounded(-16, high)
    quantized = quantize_model(model, rows)
    assert read(convert(quantized)).outputs[0].quantization.zero_point[0] == (0 if high < 16 else -1)
    entry = next(layer for layer in quantized.layers if isinstance(layer, RangeLayer) and layer.entry)
    entry.set_range(-16.0, 15.875)  # codes of 1/8: every fourth is a half
    halves = np.arange(-15.5, 15.5, 1.0, dtype=np.float32)[:28].reshape(7, 4)
    for found in (quantized.predict(halves, verbose=0), Interpreter(convert(quantized)).predict(halves)):
        np.testing.assert_array_equal(found, np.rint(halves))


@pytest.mark.parametrize(("low", "high"), [(-3.2, 4.1), (0.0, 200.0), (-250.0, -3.0), (-100.0, 150.0)])
def test_integers_are_codes(low, high):
    model, rows = rounded(low, high)
    quantized = quantize_model(model, rows)
    content = convert(quantized)
    (output,) = read(content).outputs
    assert output.scales == (1.0,)
    found = Interpreter(content).predict(rows)
    np.testing.assert_allclose(found, quantized.predict(rows, verbose=0), rtol=1e-6)  # the same codes
    step = (max(high, 0) - min(low, 0)) / 255
    assert np.abs(found - rows).max() <= 0.5 + step


def test_more_integers_than_codes_are_refused_with_what_to_do():
    model, rows = rounded(-100, 400)
    with pytest.raises(
        UnsupportedLayerError, match=r"'rounding': op Round: .* from -100 to 400; divide by more before"
    ):
        quantize_model(model, rows)


def test_a_layer_left_in_float_rounds_as_many_as_it_likes():
    model, rows = rounded(-100, 400)
    quantized = quantize_model(model, rows, config=QuantConfig(skip=["^rounding$"]))
    content = convert(quantized, allow_float=True)
    assert "ROUND" in [op.name for op in read(content).ops]
    np.testing.assert_allclose(Interpreter(content).predict(rows), np.rint(rows), atol=4)


def gradient(model, rows):
    x = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(model(x, training=True))
    return tape.gradient(y, x)


def test_the_gradient_is_the_users():
    model, rows = rounded(-3, 3, estimated)
    np.testing.assert_array_equal(gradient(quantize_model(model, rows), rows), np.ones_like(rows))
    model, rows = rounded(-3, 3)
    assert gradient(model, rows) is None
    assert gradient(quantize_model(model, rows), rows) is None


def test_an_end_that_is_trained_is_trained_on():
    model = ROUNDING["pact"]()
    rows = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)
    quantized = quantize_model(model, rows)
    (end, _) = (v for v in quantized.trainable_variables if v.name.endswith("end:0"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantized(rows[:16], training=True))
    assert abs(float(tape.gradient(loss, end))) > 0


def test_a_step_that_is_trained_in_float64_has_codes():
    entry = tf_keras.Input((4,), dtype="float64")
    model = tf_keras.Model(entry, Lsq(dtype="float64")(entry))
    rows = np.random.default_rng(0).normal(size=(128, 4))
    found = quantize_model(model, rows)(rows, training=False)
    np.testing.assert_allclose(found, np.clip(np.rint(rows * 4), -8, 7) / 4, atol=0.26)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["dorefa", "lsq", pytest.param("rounded_then_clipped", marks=pytest.mark.slow)])
def test_a_network_of_four_bits_is_the_same_in_its_file(name):
    rows = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)
    quantized = quantize_model(ROUNDING[name](), rows)
    found = Interpreter(convert(quantized)).predict(rows)
    assert np.ptp(found) > 0.1
    np.testing.assert_allclose(found, quantized.predict(rows, verbose=0), rtol=1e-6)  # the same codes
