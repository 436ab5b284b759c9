"""A normalization computes its rows also next to rows that hardly differ from 0, as a mask leaves them."""

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert

ROWS = np.random.default_rng(0).normal(size=(128, 4, 6)).astype(np.float32)
SIZES = np.array([1.0, 0.5, 2.0, 1e-4], np.float32)[:, np.newaxis]


def test_rows_next_to_padding_are_normalized():
    entry = tf_keras.Input((4, 6))
    model = tf_keras.Model(entry, layers.LayerNormalization(epsilon=1e-12)(entry))
    quantized = quantize_model(model, ROWS * SIZES)
    expected, found = (np.asarray(each(ROWS * SIZES))[:, :3] for each in (model, quantized))
    assert sqnr_db(expected, found) > 20.0


def test_a_variance_that_rounding_takes_below_0_trains_and_has_a_file():
    """E[x^2] - E[x]^2 of rows whose mean is far from 0."""

    def normalized(x):
        mean = tf.reduce_mean(x, -1, keepdims=True)
        return (x - mean) / tf.sqrt(tf.reduce_mean(x * x, -1, keepdims=True) - mean * mean + 1e-3)

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
