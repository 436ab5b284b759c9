"""The double rounding of LiteRT's own kernels, against the C code's integer arithmetic written out in Python."""

import math

import numpy as np
import pytest
import tensorflow as tf

from qat.export.lowering.scales import Grid
from qat.quantization.kernels.requantize import (
    multiply_by_quantized_multiplier,
    quantize_constants,
    quantize_multiplier,
)


def multiplied(total: int, factor: float) -> int:
    """MultiplyByQuantizedMultiplier in integers alone; the shift rounds halves up."""
    fraction, shift = math.frexp(factor)
    whole = math.floor(fraction * 2**31 + 0.5)
    if whole == 2**31:
        whole, shift = whole // 2, shift + 1
    product = (total << max(shift, 0)) * whole
    high = (product + (1 << 30)) >> 31
    right = max(-shift, 0)
    return (high + (1 << right >> 1)) >> right


def test_it_is_the_kernels_integer_arithmetic():
    random = np.random.default_rng(0)
    totals = random.integers(-20000, 20000, (500, 7))
    factors = np.array([0.5, 0.25, 0.4999, 1.7, 0.013, 3e-4, 0.1], np.float32)
    found = multiply_by_quantized_multiplier(tf.constant(totals, tf.float32), tf.constant(factors)).numpy()
    expected = [[multiplied(int(t), float(f)) for t, f in zip(row, factors, strict=True)] for row in totals]
    np.testing.assert_array_equal(found, expected)


def test_the_second_rounding_shows_with_large_factors():
    total, factor = tf.constant([[39.0]]), tf.constant([0.4995])  # 19.48: 38.96 halves, 39 halves, 19.5, 20
    assert multiply_by_quantized_multiplier(total, factor).numpy().item() == 20
    assert round(39 * 0.4995) == 19


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0**-20, 0.9999999, 3.0, 1e-6])
def test_mantissa_and_exponent_give_the_factor_back(factor):
    whole, shift = quantize_multiplier(tf.constant(factor, tf.float64))
    assert 2**30 <= float(whole) < 2**31
    assert float(whole) * 2.0 ** (float(shift) - 31) == pytest.approx(factor, rel=1e-9)


def test_a_constant_on_half_a_code_has_one_code_in_every_way_of_computing_it():
    """log(1/2) on a range from log(1/4) to 0: a graph that divides by a constant multiplies by its inverse."""
    low, half = np.float32(np.log(0.25)), np.float32([np.log(0.5)])
    in_graph = tf.function(lambda x: quantize_constants(x, low, np.float32(0), np.float32(127))[0])
    arrays = quantize_constants(half, low, np.float32(0), np.float32(127))[0]
    assert arrays.tolist() == in_graph(tf.constant(half)).numpy().tolist() == [-1.0]
    assert Grid(1.3862943649 / 255, 127, float(low), 0.0).codes(half).tolist() == [-1]
