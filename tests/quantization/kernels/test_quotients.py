"""Quotients of codes; `test_integer_kernels` has them beside LiteRT's kernel."""

import numpy as np
import tensorflow as tf

from qat.quantization.kernels.quotients import LARGEST, divide_codes


def test_a_quotient_is_within_half_a_code_of_the_real_one():
    x, y = (
        each.astype(np.float32) for each in np.meshgrid(np.arange(-LARGEST, LARGEST + 1), np.arange(1, LARGEST + 1))
    )
    for factor in (1.0, 16.0, 100.0):
        found = divide_codes(x, y, np.float32(factor))
        real = x * factor / y
        sure = np.abs(real) >= 0.5  # smaller ones are chosen by another op in the file
        assert np.all(np.abs(found - real)[sure] <= 0.5 + 1e-5)
        np.testing.assert_array_equal(divide_codes(tf.constant(x), tf.constant(y), tf.constant(factor)), found)


def test_the_sign_is_that_of_both():
    x, y = np.array([90.0, -90.0, 90.0, -90.0], np.float32), np.array([7.0, 7.0, -7.0, -7.0], np.float32)
    np.testing.assert_array_equal(divide_codes(x, y, np.float32(1.0)), [13.0, -13.0, -13.0, 13.0])
