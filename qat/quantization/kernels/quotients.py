"""Quotients of codes as LiteRT's kernel of DIV computes them: by the reciprocal of the denominator, in integers.

Source: DivElementwise of int8, tflite/kernels/internal/reference/div.h, and GetReciprocal, internal/common.h.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array
from qat.quantization.kernels.fixed_point import Codes, FixedPoint
from qat.quantization.kernels.requantize import quantize_multiplier

LARGEST = 255  # difference of two codes
_INT32 = FixedPoint(32)
_SIDE = LARGEST + 1


@lru_cache
def quotients() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All quotients of two differences of codes, before they are rescaled.

    Returns:
        Quotients with 31 bits, and how far each is shifted to the left, both int64 [511 * 256]: that of x, from -255
        on, and y, at least 1, stands at 256 (x + 255) + y.
    """
    x, y = np.meshgrid(np.arange(-LARGEST, LARGEST + 1), np.maximum(np.arange(_SIDE), 1), indexing="ij")
    size, headroom = _bits(y), 31 - _bits(np.where(x < 0, -x - 1, x))
    reciprocal = _INT32.shift(_INT32.half_reciprocal((y << (32 - size)) - (1 << 31)), 1)
    return _INT32.product(x << headroom, reciprocal).ravel(), (headroom + size - 1).ravel()


def _bits(x: Codes) -> Codes:
    """How many the integers, at least 0, have."""
    return np.frexp(x)[1].astype(np.int64)


def divide_codes(x: Array, y: Array, factor: Array) -> Array:
    """The codes of quotients, less the zero point.

    Args:
        x: codes less the zero point: integers, held in float32 of any shape.
        y: the same of the denominator, of a shape that broadcasts with that of `x`; none is 0.
        factor: scale of `x` over those of `y` and of the output, a scalar.

    Returns:
        Integers of the broadcast shape, in the dtype of `x`.
    """
    index = arrays.cast(_SIDE * (x * arrays.sign(y) + LARGEST) + arrays.absolute(y), "int32")
    quotient, shift = (arrays.take(table, index) for table in quotients())
    mantissa, exponent = quantize_multiplier(factor)
    both = quotient * arrays.cast(mantissa, "int64")
    rescaled = arrays.cast(arrays.right_shift(both + (1 << 30), 31), "float64")
    return arrays.cast(arrays.round_half_away(rescaled * 2.0 ** (exponent - arrays.cast(shift, "float64"))), x.dtype)
