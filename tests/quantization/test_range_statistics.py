"""Cut off and SQNR of each range, against the same counted by NumPy on the tensors before the quantizers."""

import numpy as np
import pytest
import tf_keras

from qat.quantization import quantize_model, range_statistics
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.range_statistics import RangeMeter


@pytest.fixture(scope="module")
def model():
    inputs = tf_keras.Input((6, 6, 2), name="image")
    x = tf_keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
    x = tf_keras.layers.Flatten(name="flat")(x)
    float_model = tf_keras.Model(inputs, tf_keras.layers.Dense(4, name="logits")(x))
    return quantize_model(float_model, np.random.default_rng(0).random((128, 6, 6, 2), np.float32))


def test_shares_and_sqnr_are_those_of_the_tensors_themselves(model):
    x = np.random.default_rng(1).random((16, 6, 6, 2), np.float32)
    layer = next(each for each in model.layers if isinstance(each, RangeLayer) and each.source == "conv")
    low, high = layer.range
    meter = RangeMeter(model)
    assert max(fit.cut_off for fit in meter(x)[0]) < 0.2
    layer.set_range(0.0, high / 4)
    before = tf_keras.Model(model.inputs, layer.inbound_nodes[0].keras_inputs[0])(x, training=False).numpy()
    step = high / 4 / 255
    on_grid = np.clip(np.round(before / step), 0, 255) * step
    fits, everywhere = meter(x)
    found = {fit.layer: fit for fit in fits}["conv"]
    assert found.cut_off == pytest.approx(np.mean(before > high / 4 + step / 2))
    expected_db = 10 * np.log10(np.sum(np.square(before)) / np.sum(np.square(on_grid - before)))
    assert found.sqnr_db == pytest.approx(expected_db, abs=0.01)
    assert 0 < everywhere < found.cut_off
    layer.set_range(low, high)


def test_samples_are_taken_in_any_portions(model, monkeypatch):
    x = np.random.default_rng(2).random((5, 6, 6, 2), np.float32)
    fits, everywhere = RangeMeter(model)(x)
    monkeypatch.setattr(range_statistics, "MOST_AT_ONCE", 2 * x[0].size)
    again, everywhere_again = RangeMeter(model)(x)
    assert everywhere == everywhere_again
    assert [fit.layer for fit in again] == [fit.layer for fit in fits]
    assert [fit.sqnr_db for fit in again] == pytest.approx(
        [fit.sqnr_db for fit in fits], abs=1e-3
    )  # dB; sums of float32
