"""Which real numbers the codes of a tensor represent."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qat.quantization.kernels.requantize import quantize_constants

LOWEST, HIGHEST = -128, 127
LARGEST_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Grid:
    """int8 codes, one scale and zero point for a tensor that is written; `qat.codes.QuantParams` has those of files.

    `low` and `high` are the limits that scale and zero point come from.
    """

    scale: float
    zero_point: int
    low: float = field(compare=False)
    high: float = field(compare=False)

    @classmethod
    def symmetric(cls, scale: float) -> Grid:
        """Zero point 0."""
        return cls(scale, 0, scale * LOWEST, scale * HIGHEST)

    def codes(self, values: NDArray) -> NDArray[np.int8]:
        """Constants as codes, as the model rounds them: an array of the shape of `values`."""
        codes, _ = quantize_constants(values, self.low, self.high, np.float64(self.zero_point))
        return codes.astype(np.int8)


@dataclass(frozen=True)
class KernelCodes:
    """A kernel with its output channels last (of a depthwise kernel [height, width, 1, channels]).

    `codes` is int8, of `bits` bits; `scales` is float32 [channels], or [1] for all; the zero point is 0.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    bits: int


def bias_codes(bias: NDArray[np.float32], scale: NDArray[np.float32] | np.floating) -> NDArray[np.int32]:
    """Codes of biases, on the scale of the accumulators: input scale times kernel scale.

    Source: the TFLite 8-bit quantization specification (bias: int32, zero point 0).

    Args:
        bias: real numbers, float32 [channels].
        scale: scale of the accumulators, float32 [channels], or one number for all.

    Returns:
        int32 [channels], halves rounded to even, saturated at +-(2^31 - 1).
    """
    codes = np.round(bias / scale).astype(np.float64)  # in float32 the largest of all codes would wrap around
    return np.clip(codes, -LARGEST_INT32, LARGEST_INT32).astype(np.int32)
