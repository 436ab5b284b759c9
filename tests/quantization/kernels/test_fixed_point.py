"""gemmlowp's fixed-point numbers."""

import numpy as np
import pytest

from qat.quantization.kernels.fixed_point import FixedPoint, divide_towards_zero


@pytest.mark.parametrize(("bits", "error"), [(16, 2e-4), (32, 2e-8)])
def test_half_the_reciprocal_by_newtons_method(bits, error):
    number = FixedPoint(bits)
    shares = np.arange(0, number.highest, 1 << (bits - 8))  # of 1, from 0 on
    found = number.half_reciprocal(shares) / 2.0 ** (bits - 2)  # with one integer bit
    np.testing.assert_allclose(found, 1.0 / (1.0 + shares / 2.0 ** (bits - 1)), atol=error)


def test_ends_and_halves():
    number = FixedPoint(16)
    assert number.wrap(np.int64(number.highest + 1)) == number.lowest
    assert number.saturate(np.int64(number.highest + 1)) == number.highest
    assert number.product(np.int64(number.lowest), number.lowest) == number.highest
    assert [int(number.shift(np.int64(x), -1)) for x in (-3, -1, 1, 3)] == [-2, -1, 1, 2]
    assert [int(divide_towards_zero(np.int64(x), 1)) for x in (-3, 3)] == [-1, 1]
