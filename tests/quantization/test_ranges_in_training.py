"""Ranges that follow training: the file holds what training has shown, also what few rows of a batch show."""

import numpy as np
import pytest
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
