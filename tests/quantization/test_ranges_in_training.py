"""Ranges that follow training: the file holds what training has shown, also what few rows of a batch show."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
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
