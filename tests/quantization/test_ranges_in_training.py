"""Ranges that follow training: the file holds what training has shown, also what few rows of a batch show."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.keras.range_layer import RangeLayer
from qat.tflite import Interpreter, convert

ROWS = np.random.default_rng(0).normal(size=(512, 6)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [8, 32])
@pytest.mark.parametrize("tail", ["none", "heavy"])
def test_steps_of_length_0_in_small_batches_leave_the_file_as_good_as_calibration(tail, batch_size):
    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((6,))
    outputs = layers.Dense(3)(layers.Dense(16, activation="relu")(entry))
    model = tf_keras.Model(entry, outputs if tail == "none" else layers.Lambda(lambda x: x**3)(outputs))
    quantized = quantize_model(model, ROWS)
    wanted = model.predict(ROWS, verbose=0)
    calibrated = sqnr_db(wanted, Interpreter(convert(quantized)).predict(ROWS))
    quantized.compile(tf_keras.optimizers.SGD(0.0), "mse")
    quantized.fit(ROWS, wanted, batch_size=batch_size, epochs=10, verbose=0)
    assert sqnr_db(wanted, Interpreter(convert(quantized)).predict(ROWS)) > calibrated - 3


@pytest.mark.parametrize("normalized", [False, True])
def test_rows_that_are_rare_and_large_keep_their_codes_where_nothing_is_unsettled(normalized):
    """One row of 64 is twenty times as large, and most batches have none of them."""
    tf_keras.utils.set_random_seed(0)
    rows = ROWS * np.where(np.arange(512) % 64 == 0, 20.0, 1.0).astype(np.float32)[:, np.newaxis]
    entry = tf_keras.Input((6,))
    hidden = layers.Dense(16, activation="relu")(entry)
    hidden = layers.BatchNormalization()(layers.Dense(16)(hidden)) if normalized else hidden
    model = tf_keras.Model(entry, layers.Dense(3)(hidden))
    quantized = quantize_model(model, rows)
    (first, *_) = (layer for layer in quantized.layers if isinstance(layer, RangeLayer))
    before = first.range
    quantized.compile(tf_keras.optimizers.SGD(0.0), "mse")
    quantized.fit(rows[1:63], model.predict(rows[1:63], verbose=0), batch_size=8, epochs=2, verbose=0)
    assert first.range[1] > 0.8 * before[1]  # of the input, which stays as wide as the calibration data
    if not normalized:
        wanted = model.predict(rows, verbose=0)
        assert sqnr_db(wanted, Interpreter(convert(quantized)).predict(rows)) > 15.0


class OwnNorm(layers.Layer):
    """A user's own BatchNormalization."""

    def build(self, shape):
        self.mean = self.add_weight("mean", (shape[-1],), initializer="zeros", trainable=False)
        self.variance = self.add_weight("variance", (shape[-1],), initializer="ones", trainable=False)

    def call(self, x, training=None):
        if training:
            mean, variance = tf.nn.moments(x, [0])
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
            self.variance.assign(0.9 * self.variance + 0.1 * variance)
            return (x - mean) * tf.math.rsqrt(variance + 1e-3)
        return (x - self.mean) * tf.math.rsqrt(self.variance + 1e-3)


@pytest.mark.parametrize(("make", "settled"), [
    (lambda: layers.ReLU(), True), (lambda: layers.Dropout(0.3), True), (lambda: layers.BatchNormalization(), False),
    (lambda: layers.BatchNormalization(axis=[1]), False), (OwnNorm, False),
], ids=["relu", "dropout", "norm", "norm of an axis", "own norm"])  # fmt: skip
def test_ranges_may_fall_at_once_where_something_normalises_by_the_batch(make, settled):
    entry = tf_keras.Input((6,))
    quantized = quantize_model(tf_keras.Model(entry, layers.Dense(2)(make()(layers.Dense(4)(entry)))), ROWS)
    inputs, *others = [layer.quantizer for layer in quantized.layers if isinstance(layer, RangeLayer)]
    assert inputs.settled
    assert {each.settled for each in others} == {settled}


class Gain(layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight("gain", (shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.gain


@pytest.mark.medium
def test_a_gain_far_below_its_range_is_seen_in_training():
    entry = tf_keras.Input((6,))
    quantized = quantize_model(tf_keras.Model(entry, Gain()(layers.Dense(4)(entry))), ROWS)
    quantized.trainable_variables[-1].assign(np.full(4, 3e-6))
    quantized.compile(tf_keras.optimizers.SGD(0.0), "mse")
    quantized.fit(ROWS, np.zeros((512, 4)), batch_size=8, epochs=20, verbose=0)
    found, wanted = quantized.predict(ROWS, verbose=0), quantized.to_float().predict(ROWS, verbose=0)
    assert sqnr_db(wanted, found) > 15.0
