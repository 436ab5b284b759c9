"""Real numbers to integer codes and back, as the TFLite 8-bit quantization specification defines it. NumPy only.

    real = (code - zero_point) * scale

It is an independent implementation: diagnosis and tests recompute with it what converter and runtime compute.
Source: TensorFlow Lite 8-bit quantization specification, ai.google.dev/edge/litert/models/quantization_spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class QuantParams:
    """Scale and zero point of one tensor; several of each, along `axis`, when it is quantized per channel."""

    scale: NDArray[np.float64]
    zero_point: NDArray[np.int64]
    dtype: np.dtype
    axis: int | None = None

    @classmethod
    def make(cls, scale: float | NDArray, zero_point: int | NDArray, dtype: str | np.dtype, axis: int | None = None):
        """Build from plain numbers.

        Args:
            scale: real distance of two neighbouring codes, above 0: one number, or one per channel, [channels].
            zero_point: the code that stands for 0: an integer, or one per channel, [channels].
            dtype: integer dtype of the codes, as "int8".
            axis: which axis of the tensor holds the channels; None where there is one scale.

        Returns:
            The parameters, scale float64 [n] and zero point int64 [n].

        Raises:
            ValueError: a scale that is not finite or not above 0.

        >>> QuantParams.make(0.5, -128, "int8").code_limits
        (-128, 127)
        """
        scales = np.atleast_1d(np.asarray(scale, np.float64))
        zero_points = np.broadcast_to(np.atleast_1d(np.asarray(zero_point, np.int64)), scales.shape)
        if not np.all(np.isfinite(scales)) or np.any(scales <= 0):
            raise ValueError(f"scale={scale}: expected finite numbers above 0")
        return cls(scales, zero_points, np.dtype(dtype), axis)

    @property
    def per_channel(self) -> bool:
        return self.scale.size > 1

    @property
    def code_limits(self) -> tuple[int, int]:
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    @property
    def real_limits(self) -> tuple[float, float]:
        """Smallest and largest real number that a code can represent (of the first channel).

        >>> QuantParams.make(1.0, -128, "int8").real_limits
        (0.0, 255.0)
        """
        low, high = self.code_limits
        return float((low - self.zero_point[0]) * self.scale[0]), float((high - self.zero_point[0]) * self.scale[0])

    def _broadcast(self, values: NDArray, rank: int) -> NDArray:
        if not self.per_channel:
            return values[0]
        shape = [1] * rank
        shape[self.axis if self.axis is not None else -1] = values.size
        return values.reshape(shape)


def round_half_away(real: NDArray) -> NDArray:
    """Round to the nearest integer, halves away from zero, as TFLite's kernels do.

    >>> round_half_away(np.array([-1.5, -0.5, 0.5, 1.5])).tolist()
    [-2.0, -1.0, 1.0, 2.0]
    """
    array = np.asarray(real, np.float64)
    return np.trunc(array + np.copysign(0.5, array))


def quantize(real: NDArray, params: QuantParams) -> NDArray:
    """Real numbers to codes: clip(round(real / scale) + zero_point), halves rounded away from zero.

    Args:
        real: float, any shape; with one scale per channel, `params.axis` is one of its axes.
        params: scale and zero point, one of each or one per channel.

    Returns:
        Codes of `params.dtype`, same shape.

    Raises:
        ValueError: `real` holds NaN.

    >>> quantize(np.array([-1.0, 0.0, 0.49, 300.0]), QuantParams.make(1.0, -128, "int8")).tolist()
    [-128, -128, -128, 127]
    """
    array = np.asarray(real, np.float64)
    if np.isnan(array).any():
        raise ValueError("cannot quantize NaN: there is no code for it. Check the preprocessing that made it.")
    low, high = params.code_limits
    codes = round_half_away(array / params._broadcast(params.scale, array.ndim)) + params._broadcast(
        params.zero_point, array.ndim
    )
    return np.clip(codes, low, high).astype(params.dtype)


def dequantize(codes: NDArray, params: QuantParams) -> NDArray:
    """Codes to real numbers: (code - zero_point) * scale.

    Args:
        codes: integers, any shape; with one scale per channel, `params.axis` is one of its axes.
        params: scale and zero point, one of each or one per channel.

    Returns:
        float32, same shape.

    >>> dequantize(np.array([-128, 127], np.int8), QuantParams.make(0.5, -128, "int8")).tolist()
    [0.0, 127.5]
    """
    array = np.asarray(codes)
    shifted = array.astype(np.int64) - params._broadcast(params.zero_point, array.ndim)
    return (shifted * params._broadcast(params.scale, array.ndim)).astype(np.float32)


def fake_quant(real: NDArray, params: QuantParams) -> NDArray:
    """Quantize, then dequantize.

    Args:
        real: float, any shape; with one scale per channel, `params.axis` is one of its axes.
        params: scale and zero point, one of each or one per channel.

    Returns:
        float32, same shape: the real numbers that the codes represent.

    Raises:
        ValueError: `real` holds NaN.

    >>> fake_quant(np.array([0.3]), QuantParams.make(0.25, 0, "int8")).tolist()
    [0.25]
    """
    return dequantize(quantize(real, params), params)


def scale_of_range(low: Any, high: Any, intervals: Any) -> Any:
    """The real distance of two neighbouring codes: the one place where limits become a scale.

    Args:
        low: the real number that the lowest code stands for; a float, a float array or a tensor, one element per
            channel where there is one scale per channel.
        high: the real number that the highest code stands for; of the same kind and shape as `low`.
        intervals: number of codes less one, as 255 for int8.

    Returns:
        (high - low) / intervals, of the shape and dtype of the limits.

    >>> scale_of_range(0.0, 510.0, 255)
    2.0
    """
    return (high - low) / intervals


def zero_point_of_range(low: Any, scale: Any, lowest: Any) -> Any:
    """The code of 0 before it is rounded and limited to a code: the one place where limits become a zero point.

    Args:
        low: the real number that the lowest code stands for; a float, a float array or a tensor.
        scale: real distance of two neighbouring codes, from `scale_of_range`; of the shape of `low`.
        lowest: the lowest code, as -128 for int8.

    Returns:
        lowest - low / scale, of the shape and dtype of `low`.

    >>> zero_point_of_range(-1.0, 0.5, -128)
    -126.0
    """
    return lowest - low / scale


def params_from_range(low: float, high: float, dtype: str = "int8") -> QuantParams:
    """The asymmetric parameters that cover [low, high] and represent 0 exactly.

    As TensorFlow's `ChooseQuantizationParams`: scale = (high - low) / (number of codes - 1), zero point rounded.

    Args:
        low, high: limits of the real numbers; extended to include 0.
        dtype: integer dtype of the codes, as "int8".

    Returns:
        One scale and one zero point for the whole tensor; the zero point is one of the dtype's codes.

    Raises:
        ValueError: both limits are 0.

    >>> p = params_from_range(0.0, 255.0); float(p.scale[0]), int(p.zero_point[0])
    (1.0, -128)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        raise ValueError(f"range [{low}, {high}] is empty: a tensor that is always 0 has no scale")
    info = np.iinfo(dtype)
    scale = scale_of_range(low, high, int(info.max) - int(info.min))
    zero_point = int(np.clip(round(zero_point_of_range(low, scale, int(info.min))), info.min, info.max))
    return QuantParams.make(scale, zero_point, dtype)
