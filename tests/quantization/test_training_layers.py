"""What acts in training alone, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.training_layers import DropoutMask


@pytest.mark.parametrize("cell", [layers.GRU, layers.SimpleRNN])
def test_each_row_of_a_batch_has_its_own_mask_of_the_state(cell) -> None:
    """The first state is a constant of one row: a mask like it would hold for all rows, or for none."""
    series = tf_keras.Input((3, 4))
    model = tf_keras.Model(series, cell(8, recurrent_dropout=0.5, bias_initializer="ones")(series))
    same_rows = np.repeat(np.random.default_rng(0).normal(size=(1, 3, 4)).astype("float32"), 32, axis=0)
    quantized = quantize_model(model, same_rows)
    trained = quantized(same_rows, training=True).numpy()
    assert len(np.unique(trained, axis=0)) > 16
    assert len(np.unique(quantized.predict(same_rows, verbose=0), axis=0)) == 1


def test_a_mask_has_the_rows_of_a_series_that_begins_with_its_time_axis() -> None:
    mask = DropoutMask(0.5, sizes=[6], batch_axis=1)(tf.zeros((3, 5, 4)), training=True)
    assert mask.shape == (5, 6)
    assert set(np.unique(mask)) == {0.0, 2.0}
