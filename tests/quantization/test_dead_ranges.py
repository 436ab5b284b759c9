"""A network computes the same whatever unit its numbers have: what is small is not nothing."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.dead_ranges import DEAD_WIDTH
from qat.quantization.keras.range_layer import RangeLayer
from qat.tflite import Interpreter, convert

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


def small_inputs(unit):
    """Fields in tesla or currents in ampere, divided by their size as `Normalization` does it."""
    entry = tf_keras.Input((6,))
    return tf_keras.Model(entry, layers.Dense(3)(layers.Rescaling(1 / unit)(entry))), ROWS * unit


def small_outputs(unit):
    entry = tf_keras.Input((6,))
    hidden = layers.Dense(8, activation="relu")(entry)
    return tf_keras.Model(entry, layers.Rescaling(unit)(layers.Dense(3)(hidden))), ROWS


def small_kernel(unit):
    entry = tf_keras.Input((6,))
    first, second = layers.Dense(8, activation="relu"), layers.Dense(3)
    model = tf_keras.Model(entry, second(first(entry)))
    first.kernel.assign(first.kernel * unit)
    second.kernel.assign(second.kernel / unit)
    return model, ROWS


def small_product(unit):
    entry = tf_keras.Input((6,))
    left, right = (layers.Rescaling(unit)(layers.Dense(4)(entry)) for _ in range(2))
    return tf_keras.Model(entry, layers.Rescaling(1 / unit**2)(layers.Multiply()([left, right]))), ROWS


def small_variance(unit):
    entry = tf_keras.Input((6,))
    return tf_keras.Model(
        entry, layers.LayerNormalization(epsilon=0.0)(layers.Rescaling(unit)(layers.Dense(4)(entry)))
    ), ROWS


def small_kernel_of_gates(unit):
    entry = tf_keras.Input((5, 6))
    lstm = layers.LSTM(8)
    model = tf_keras.Model(entry, layers.Dense(3)(lstm(entry)))
    kernel, *others = lstm.get_weights()
    lstm.set_weights([kernel * unit, *others])
    return model, np.random.default_rng(0).normal(size=(128, 5, 6)).astype(np.float32) / unit


def small_beside_zeros(unit):
    entry = tf_keras.Input((6,))
    small, other = (layers.Rescaling(unit)(layers.Dense(4)(entry)) for _ in range(2))
    dead = layers.Dense(4, kernel_initializer="zeros")(other)
    return tf_keras.Model(entry, layers.Rescaling(1 / unit)(layers.Add()([small, dead]))), ROWS


SMALL = [small_inputs, small_outputs, small_kernel, small_product, small_variance, small_kernel_of_gates]


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("make", [*SMALL, small_beside_zeros])
def test_the_unit_of_a_number_does_not_matter(make, trained):
    found = []
    for unit in (1.0, 2.0**-30):
        tf_keras.utils.set_random_seed(0)
        model, rows = make(unit)
        quantized = quantize_model(model, rows)
        if trained:  # by steps of length 0: ranges alone move
            quantized.compile(tf_keras.optimizers.SGD(0.0), "mse")
            quantized.fit(rows, model.predict(rows, verbose=0), shuffle=False, verbose=0)
        answers = Interpreter(convert(quantized)).predict(rows)
        np.testing.assert_allclose(answers, quantized.predict(rows, verbose=0), rtol=1e-5)
        found.append(sqnr_db(model.predict(rows, verbose=0), answers))
    assert found[0] > 15
    assert found[1] == pytest.approx(found[0], abs=1)


def test_what_rounding_leaves_of_larger_numbers_has_a_range_that_kernels_reach():
    """A third of 3 x less x: nothing but the last bits of float32."""
    entry = tf_keras.Input((6,))
    less = layers.Subtract(name="less")([layers.Dense(6, kernel_initializer=_thirds)(3 * entry), entry])
    outputs = layers.Add()([layers.Dense(2)(less), layers.Dense(2)(entry)])
    assert 0 < np.ptp(tf_keras.Model(entry, less)(ROWS)) < 1e-6
    quantized = quantize_model(tf_keras.Model(entry, outputs), ROWS)
    ranges = {layer.source: layer.range for layer in quantized.layers if isinstance(layer, RangeLayer)}
    low, high = ranges["less"]
    assert high - low == pytest.approx(DEAD_WIDTH, rel=0.01)
    answers = Interpreter(convert(quantized)).predict(ROWS)
    np.testing.assert_allclose(answers, quantized.predict(ROWS, verbose=0), rtol=1e-5, atol=1e-6)


def _thirds(shape, dtype=None):
    return np.eye(*shape, dtype=np.float32) / np.float32(3)


@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_nothing_times_large_numbers_is_nothing_in_the_file(unit):
    entry = tf_keras.Input((6,))
    nothing = layers.ReLU()(layers.Rescaling(-1.0)(layers.ReLU()(entry)))
    quantized = quantize_model(tf_keras.Model(entry, layers.Multiply()([nothing, entry])), ROWS * unit)
    assert not np.any(Interpreter(convert(quantized)).predict(ROWS * unit))


@pytest.mark.medium
def test_what_training_leaves_nothing_of_has_a_file():
    """Operands shrink by a penalty, an output by its bias, and the ranges around them more slowly."""
    tf_keras.utils.set_random_seed(0)
    entry, decay = tf_keras.Input((8,)), tf_keras.regularizers.L2(1.0)
    state = layers.GRU(4, kernel_regularizer=decay, recurrent_regularizer=decay)(layers.Reshape((8, 1))(entry))
    rows = np.random.default_rng(0).normal(size=(128, 8)).astype(np.float32)
    quantized = quantize_model(tf_keras.Model(entry, layers.Dense(3)(state)), rows)
    quantized.compile(tf_keras.optimizers.SGD(0.1), "mse")
    quantized.fit(rows, np.zeros((128, 3), np.float32), batch_size=8, epochs=20, verbose=0)
    found = Interpreter(convert(quantized)).predict(rows)
    np.testing.assert_allclose(found, quantized.predict(rows, verbose=0), rtol=1e-5, atol=1e-9)
