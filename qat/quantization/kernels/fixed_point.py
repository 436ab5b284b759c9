"""Fixed-point numbers of 16 or 32 bits as gemmlowp computes with them. NumPy only.

Source: gemmlowp fixedpoint.h, which LiteRT's own kernels use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class FixedPoint:
    """Numbers of so many bits, held in int64; 2^(bits - 1) codes stand for 1 where there are no integer bits.

    Attributes:
        bits: 16 or 32.
    """

    bits: int

    @property
    def lowest(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        return (1 << (self.bits - 1)) - 1

    def wrap(self, x: Codes) -> Codes:
        """As a sum that overflows."""
        return ((x - self.lowest) & ((1 << self.bits) - 1)) + self.lowest

    def saturate(self, x: Codes) -> Codes:
        """x, or the end of the numbers that it lies beyond."""
        return np.clip(x, self.lowest, self.highest)

    def product(self, a: Codes, b: Codes | int) -> Codes:
        """SaturatingRoundingDoublingHighMul: a * b / 2^(bits - 1), halves upwards."""
        both, half = a * b, 1 << (self.bits - 2)
        rounded = divide_towards_zero(np.where(both >= 0, both + half, both + 1 - half), self.bits - 1)
        return np.where((a == self.lowest) & (np.asarray(b) == self.lowest), self.highest, rounded)

    def shift(self, x: Codes, bits: int) -> Codes:
        """x * 2^bits: saturated to the left, rounded to the right, halves away from zero."""
        if bits >= 0:
            return self.saturate(x << bits)
        mask = (1 << -bits) - 1
        return (x >> -bits) + ((x & mask) > (mask >> 1) + (x < 0))

    def constant(self, int32_value: int) -> int:
        """A constant that gemmlowp writes as an int32."""
        return int(self.shift(np.int64(int32_value), self.bits - 32))

    def half_reciprocal(self, a: Codes) -> Codes:
        """1 / (1 + a) with one integer bit, of a in [0, 1) without integer bits, by Newton's method.

        Source: one_over_one_plus_x_for_x_in_0_1.
        """
        total = a + self.highest
        half = divide_towards_zero(total + np.where(total >= 0, 1, -1), 1)
        x = self.wrap(self.constant(1515870810) + self.product(half, self.constant(-1010580540)))
        for _ in range(3):
            x = self.wrap(x + self.shift(self.product(x, self.wrap((1 << (self.bits - 3)) - self.product(half, x))), 2))
        return x


def divide_towards_zero(x: Codes, bits: int) -> Codes:
    """x / 2^bits towards 0.

    Args:
        x: integers of any shape.
        bits: how many are left out, 0 to 63.

    Returns:
        Integers of the shape of `x`.
    """
    return np.sign(x) * (np.abs(x) >> bits)
