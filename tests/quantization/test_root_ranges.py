"""A normalization computes its rows also next to rows that hardly differ from 0, as a mask leaves them."""

import numpy as np
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(128, 4, 6)).astype(np.float32)
SIZES = np.array([1.0, 0.5, 2.0, 1e-4], np.float32)[:, np.newaxis]


def test_rows_next_to_padding_are_normalized():
    entry = tf_keras.Input((4, 6))
    model = tf_keras.Model(entry, layers.LayerNormalization(epsilon=1e-12)(entry))
    quantized = quantize_model(model, ROWS * SIZES)
    expected, found = (np.asarray(each(ROWS * SIZES))[:, :3] for each in (model, quantized))
    assert sqnr_db(expected, found) > 20.0
