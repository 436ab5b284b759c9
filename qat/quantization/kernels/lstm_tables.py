"""sigmoid and tanh of 16-bit numbers as LiteRT's LSTM kernel computes them, as tables of all codes. NumPy only.

Source: gemmlowp fixedpoint.h (`logistic`, `tanh`, `exp_on_negative_values`) for int16, which all kernels use.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qat.quantization.kernels.fixed_point import Codes, FixedPoint

_INT16 = FixedPoint(16)
LOWEST, HIGHEST = _INT16.lowest, _INT16.highest
WIDEST_CELL = 6  # integer bits that the kernel's tanh takes at most: |cell| < 64
_EXPONENTIALS = (  # exp(-2^k), and that number times 2^31
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)


def _exp_near_zero(a: Codes) -> Codes:
    """exp(a / 2^15) for a in [-1/4, 0): four terms of the series around -1/8."""
    x = _INT16.wrap(a + (1 << 12))
    square = _INT16.product(x, x)
    cube, fourth = _INT16.product(square, x), _INT16.product(square, square)
    tail = _INT16.wrap(
        _INT16.product(_INT16.wrap(_INT16.shift(fourth, -2) + cube), _INT16.constant(715827883)) + square
    )
    middle = _INT16.constant(1895147668)
    return _INT16.saturate(middle + _INT16.product(_INT16.wrap(x + _INT16.shift(tail, -1)), middle))


def _exp_of_negative(a: Codes, integer_bits: int) -> Codes:
    """exp(a / 2^(15 - whole_bits)) for a <= 0."""
    fraction_bits = 15 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    small = (a & (quarter - 1)) - quarter
    result, rest = _exp_near_zero(_INT16.shift(small, integer_bits)), _INT16.wrap(small - a)
    for exponent, factor in _EXPONENTIALS:
        if integer_bits > exponent:
            has = (rest & (1 << (fraction_bits + exponent))) != 0
            result = np.where(has, _INT16.product(result, _INT16.constant(factor)), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (20 - integer_bits)), 0, result)
    return np.where(a == 0, HIGHEST, result)


@lru_cache
def sigmoid_table() -> NDArray[np.int16]:
    """sigmoid, 2^15 to one, of every code from -2^15 on; 2^12 codes to one.

    >>> [int(sigmoid_table()[code + 2**15]) for code in (-4096, 0, 4096)]  # at -1, 0 and 1
    [8815, 16384, 23952]
    """
    codes = np.arange(LOWEST, HIGHEST + 1, dtype=np.int64)
    size = _INT16.wrap(np.where(codes > 0, codes, -codes))
    positive = _INT16.shift(_INT16.half_reciprocal(_exp_of_negative(_INT16.wrap(-size), 3)), 1)
    table = np.where(codes == 0, 1 << 14, np.where(codes > 0, positive, HIGHEST - positive))
    return table.astype(np.int16)


@lru_cache
def tanh_table(integer_bits: int) -> NDArray[np.int16]:
    """tanh, 2^15 to one, of every code from -2^15 on; 2^(15 - whole_bits) codes to one.

    >>> [int(tanh_table(1)[code + 2**15]) for code in (-16384, 0, 16384)]  # at -1, 0 and 1
    [-24964, 0, 24964]
    """
    codes = np.arange(LOWEST, HIGHEST + 1, dtype=np.int64)
    x = _INT16.half_reciprocal(_exp_of_negative(np.where(codes < 0, codes, -codes), integer_bits + 1))
    size = _INT16.shift(_INT16.wrap(x - (1 << 13)), 2)
    return np.where(codes == 0, 0, np.where(codes < 0, -size, size)).astype(np.int16)


@lru_cache
def tanh_tables() -> NDArray[np.int16]:
    """`tanh_table` of 0 to WIDEST_CELL integer bits, one after another."""
    return np.concatenate([tanh_table(bits) for bits in range(WIDEST_CELL + 1)])


@lru_cache
def tables_of_all() -> NDArray[np.float64]:
    """`sigmoid_table`, `tanh_table` of the gates' 3 integer bits, and `tanh_tables`, one after another."""
    return np.concatenate([sigmoid_table(), tanh_table(3), tanh_tables()]).astype(np.float64)
