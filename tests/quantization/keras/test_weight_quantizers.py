"""Scales and zero points of the layers are those of `qat.codes`, to the last bit of float32."""

import numpy as np
import pytest
import tensorflow as tf

from qat.codes import params_from_range
from qat.quantization.keras.grids import scale_of, zero_point_of
from qat.quantization.keras.weight_quantizers import OperandQuantizer, SlopeQuantizer

RANGES = np.random.default_rng(0).uniform([-5.0, 0.1], [0.0, 5.0], (500, 2)).astype(np.float32)


def test_limits_become_a_scale_and_a_zero_point_as_in_codes():
    low, high = RANGES.T
    expected = [params_from_range(float(each[0]), float(each[1])) for each in RANGES]
    scale = scale_of(low, high, 255)
    np.testing.assert_array_equal(scale, np.float32([each.scale[0] for each in expected]))
    np.testing.assert_array_equal(zero_point_of(low, scale, 8), [each.zero_point[0] for each in expected])


@pytest.mark.parametrize("quantizer", [OperandQuantizer(), SlopeQuantizer()], ids=["operand", "slopes"])
def test_the_scale_of_constants_is_the_same_in_a_graph(quantizer):
    values = tf.constant(np.random.default_rng(1).normal(size=(64,)).astype(np.float32))
    assert float(quantizer.scale(values)) == float(tf.function(quantizer.scale)(values))
    low, high = quantizer.min_max(values)
    intervals = 254 if isinstance(quantizer, SlopeQuantizer) else 255
    assert float(quantizer.scale(values)) == float(np.float32((np.float64(high) - np.float64(low)) / intervals))


@pytest.mark.parametrize("quantizer", [OperandQuantizer(), SlopeQuantizer()], ids=["operand", "slopes"])
@pytest.mark.parametrize("unit", [0.0, 1e-42, 1e-37, 1e-20, 1.0])
def test_constants_of_any_size_have_a_grid(quantizer, unit):
    found = quantizer(tf.constant([0.5 * unit, unit]), False, weights={})
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found, [0.5 * unit, unit], rtol=0.01, atol=1e-31)
    assert float(quantizer.scale(tf.constant([unit]), 0.125)) >= 0.125
