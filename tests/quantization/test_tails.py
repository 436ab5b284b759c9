"""What rows to come go beyond those that were seen: little rows widen a range, large ones leave it."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import CalibrationConfig, QuantConfig
from qat.quantization import quantize_model
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.tails import CODES, tail_margin

DRAWS = {
    "normal": lambda rng, *shape: rng.normal(size=shape),
    "laplace": lambda rng, *shape: rng.laplace(size=shape),
    "rectified": lambda rng, *shape: np.maximum(rng.normal(size=shape), 0),
}


def widened(seen):
    """The ends of a range for such rows, [rows, values]."""
    low, high = min(seen.min(), 0.0), max(seen.max(), 0.0)
    below, above = (tail_margin(tops, seen.size, high - low) for tops in (-seen.min(1), seen.max(1)))
    return low - below, high + above


def error(values, low, high):
    """Mean square of what rounding and cutting off make."""
    step = (high - low) / CODES
    return np.mean((values - np.clip(np.round(values / step) * step, low, high)) ** 2)


@pytest.mark.parametrize("draw", DRAWS)
def test_rows_of_few_values_lose_half_as_much_on_rows_to_come(draw):
    rng, plain, wide = np.random.default_rng(0), [], []
    for _ in range(20):
        seen, later = DRAWS[draw](rng, 64, 8), DRAWS[draw](rng, 1000, 8)
        plain.append(error(later, min(seen.min(), 0.0), seen.max()))
        wide.append(error(later, *widened(seen)))
    assert np.mean(wide) < 0.5 * np.mean(plain)


def test_rows_of_many_values_leave_the_range():
    seen = np.random.default_rng(0).normal(size=(64, 4096))
    np.testing.assert_allclose(widened(seen), (seen.min(), seen.max()))


@pytest.mark.parametrize("tops", [np.ones(64), np.zeros(64), -np.ones(64), np.arange(3.0)])
def test_what_has_no_tail_or_shows_none_gets_no_margin(tops):
    assert tail_margin(tops, 64, 1.0) == 0.0


def _ranges(method, rows_at_once, values):
    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((6,), name="features")
    model = tf_keras.Model(entry, layers.Dense(4, name="head")(entry))
    config = QuantConfig(name="qat", calibration=CalibrationConfig(method=method, batch_size=rows_at_once))
    found = quantize_model(model, values, config=config)
    real = model.predict(values, verbose=0)
    return {layer.source: layer.range for layer in found.layers if isinstance(layer, RangeLayer)}, real


def test_a_models_ranges_are_widened_alike_however_its_rows_come():
    values = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    found, real = _ranges("minmax", 64, values)
    assert found["head"][0] < 1.1 * real.min()
    assert found["head"][1] > 1.1 * real.max()
    assert found["features"] == pytest.approx((values.min(), values.max()), rel=0.01)  # the data's own bounds
    again, _ = _ranges("minmax", 16, values)
    np.testing.assert_allclose(list(again.values()), list(found.values()), rtol=1e-5)
    plain, _ = _ranges("percentile", 64, values)
    assert plain["head"][1] < 1.05 * real.max()


@pytest.mark.parametrize(("activation", "wider"), [("softmax", False), (None, True)])
def test_scores_that_a_softmax_alone_reads_keep_their_extremes(activation, wider):
    rows = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    entry = tf_keras.Input((6,))
    scores = layers.Dense(4, name="scores")(entry)
    outputs = scores if activation is None else layers.Activation(activation)(scores)
    quantized = quantize_model(tf_keras.Model(entry, outputs), rows)
    seen = tf_keras.Model(entry, scores).predict(rows, verbose=0)
    held = [layer.range for layer in quantized.layers if isinstance(layer, RangeLayer) and layer.source == "scores"]
    assert (held[0][1] - held[0][0] > 1.05 * np.ptp(seen)) == wider
