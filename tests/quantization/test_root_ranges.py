"""A normalization computes its rows also next to rows that hardly differ from 0, as a mask leaves them."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert

ROWS = np.random.default_rng(0).normal(size=(128, 4, 6)).astype(np.float32)
WEIGHTS = np.array([0.25, 0.25, 0.125, 0.125, 0.125, 0.125], np.float32)
SIZES = np.array([1.0, 0.5, 2.0, 1e-4], np.float32)[:, np.newaxis]


def test_rows_next_to_padding_are_normalized():
    entry = tf_keras.Input((4, 6))
    model = tf_keras.Model(entry, layers.LayerNormalization(epsilon=1e-12)(entry))
    quantized = quantize_model(model, ROWS * SIZES)
    expected, found = (np.asarray(each(ROWS * SIZES))[:, :3] for each in (model, quantized))
    assert sqnr_db(expected, found) > 20.0


@pytest.mark.parametrize("moved", [False, True])
def test_a_variance_that_rounding_takes_below_0_trains_and_has_a_file(moved):
    """E[x^2] - E[x]^2, of a weighted mean, of rows whose mean is far from 0."""

    def mean_of(x):
        return tf.reduce_sum(x * WEIGHTS, -1, keepdims=not moved)

    def normalized(x):
        spread = mean_of(x * x) - tf.square(mean_of(x)) + 1e-3
        return x / tf.sqrt(spread[..., tf.newaxis] if moved else spread)

    rows = ROWS + 4.0
    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((4, 6))
    model = tf_keras.Model(entry, layers.Dense(3)(layers.Lambda(normalized)(entry)))
    wanted = model.predict(rows, verbose=0)
    quantized = quantize_model(model, rows)
    quantized.compile(tf_keras.optimizers.SGD(1e-3), "mse")
    losses = quantized.fit(rows, wanted, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    answers = quantized.predict(rows, verbose=0)
    np.testing.assert_allclose(Interpreter(convert(quantized)).predict(rows), answers, rtol=1e-5, atol=1e-6)
