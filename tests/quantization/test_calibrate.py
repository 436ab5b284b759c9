"""Ranges from calibration data are the same, whether batches run op by op or in a graph."""

import numpy as np

from qat.quantization import calibrate, quantize_model
from qat.quantization.keras.range_layer import RangeLayer
from tests.quantization.zoo import CASES
from tests.quantization.zoo.drawing import draw, make


def test_few_batches_and_many_give_equal_ranges(monkeypatch):
    model = make("batch_norm_conv1d", CASES["batch_norm_conv1d"])
    rows = draw(model, 64, seed=1)
    found = []
    for most in (calibrate.FEW_BATCHES, 0):
        monkeypatch.setattr(calibrate, "FEW_BATCHES", most)
        layers = quantize_model(model, rows).layers
        found.append(np.array([layer.range for layer in layers if isinstance(layer, RangeLayer)]))
    assert len(found[0]) > 1
    np.testing.assert_array_equal(*found)
