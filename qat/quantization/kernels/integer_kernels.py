"""Ops without weights as the integer kernels of the deployed file compute them, in TensorFlow ops.

Each function takes the operands (real numbers on their grids), their scales, the scale of the output and the op's
attributes, and returns real numbers on the output's grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.quantization.ir.operations import OPERATIONS
from qat.quantization.kernels.requantize import (
    add_like_xnnpack,
    multiply_by_q8_multiplier,
    multiply_by_quantized_multiplier,
    rescaling_factor,
)
from qat.quantization.rewrites.comparisons import COMPARISONS

Operands = Sequence[tf.Tensor]


def _codes(operands: Operands, scales: Operands) -> list[tf.Tensor]:
    """Codes less the zero point."""
    return [tf.round(x / scale) for x, scale in zip(operands, scales, strict=True)]


def _sum(sign: float) -> Callable[..., tf.Tensor]:
    def run(operands: Operands, scales: Operands, scale: tf.Tensor) -> tf.Tensor:
        codes = _codes(operands, scales)
        return scale * add_like_xnnpack(*codes, scales[0] / scale, sign * (scales[1] / scale))

    return run


def _product(operands: Operands, scales: Operands, scale: tf.Tensor) -> tf.Tensor:
    """The product of codes, below 2^16 and so exact, times one float32; halves to even."""
    x, y = (tf.cast(codes, tf.int32) for codes in _codes(operands, scales))
    total = tf.cast(x * y, tf.float32)  # of three float32 factors, a graph multiplies the last two first
    return scale * tf.round(total * rescaling_factor(*scales, scale))


def _matrix_product(
    operands: Operands, scales: Operands, scale: tf.Tensor, *, zero_points: Operands, **attrs: Any
) -> tf.Tensor:
    """Sums of products. XNNPACK runs those whose second operand has zero point 0, as weights have: halves to even.
    LiteRT's own kernel runs the others: rounded twice, the second time halves away from zero.
    """
    total, factor = OPERATIONS["batch_matmul"](*_codes(operands, scales), **attrs), rescaling_factor(*scales, scale)
    rescaled = multiply_by_quantized_multiplier(total, factor, away=True)
    return scale * tf.where(zero_points[1] == 0.0, tf.round(total * factor), rescaled)


def _total(operands: Operands, scales: Operands, scale: tf.Tensor, *, zero_point: tf.Tensor, **attrs: Any) -> tf.Tensor:
    (codes,) = _codes(operands, scales)
    return _round_to_codes(OPERATIONS["sum"](codes, **attrs), scales[0] / scale, scale, zero_point)


def _mean(operands: Operands, scales: Operands, scale: tf.Tensor, *, zero_point: tf.Tensor, **attrs: Any) -> tf.Tensor:
    (codes,) = _codes(operands, scales)
    total = OPERATIONS["sum"](codes, **attrs)
    value_count = tf.cast(tf.size(codes) / tf.size(total), tf.float64)
    factor = tf.cast(scales[0], tf.float64) / (tf.cast(scale, tf.float64) * value_count)
    return _round_to_codes(total, tf.cast(factor, tf.float32), scale, zero_point)


def _round_to_codes(total: tf.Tensor, factor: tf.Tensor, scale: tf.Tensor, zero_point: tf.Tensor) -> tf.Tensor:
    """XNNPACK's sums and means: the sum of codes times one float32, the zero point added in float32, halves to the even
    code. With an odd zero point that is not the even distance from it (measured: every code of 60,000)."""
    return scale * (tf.round(total * factor + zero_point) - zero_point)


def _leaky_relu(operands: Operands, scales: Operands, scale: tf.Tensor, *, alpha: float) -> tf.Tensor:
    (codes,) = _codes(operands, scales)
    factor = scales[0] / scale
    branches = multiply_by_q8_multiplier(codes, factor), multiply_by_q8_multiplier(codes, alpha * scales[0] / scale)
    return scale * tf.where(codes >= 0, *branches)


def _prelu(operands: Operands, scales: Operands, scale: tf.Tensor) -> tf.Tensor:
    """LiteRT's own kernel: negative codes are first multiplied by the code of their slope."""
    codes, slopes = _codes(operands, scales)
    above = multiply_by_quantized_multiplier(codes, scales[0] / scale, away=True)
    below = multiply_by_quantized_multiplier(codes * slopes, rescaling_factor(*scales, scale), away=True)
    return scale * tf.where(codes >= 0, above, below)


def _relu(operands: Operands, scales: Operands, scale: tf.Tensor, *, most: float = math.inf) -> tf.Tensor:
    """LiteRT's own kernel of an activation that is not fused: rounded twice, the second time halves away from zero."""
    (codes,) = _codes(operands, scales)
    rescaled = multiply_by_quantized_multiplier(tf.nn.relu(codes), scales[0] / scale, away=True)
    return scale * tf.minimum(rescaled, tf.round(most / scale))


def _squared_difference(operands: Operands, scales: Operands, scale: tf.Tensor) -> tf.Tensor:
    """LiteRT's kernel: both operands in 1/64 of the coarser scale, and the square of their difference."""
    widest = 2.0 * tf.maximum(*scales)
    x, y = (
        multiply_by_quantized_multiplier(codes * 128.0, own / widest, away=True)
        for codes, own in zip(_codes(operands, scales), scales, strict=True)
    )
    square = tf.cast(x - y, tf.float64) ** 2
    factor = tf.cast(widest, tf.float64) ** 2 / (128.0**2 * tf.cast(scale, tf.float64))
    return scale * tf.cast(multiply_by_quantized_multiplier(square, factor, away=True), tf.float32)


def _softmax(operands: Operands, scales: Operands, scale: tf.Tensor) -> tf.Tensor:
    """LiteRT's kernel: exponentials of a table, added one after another in float32, halves away from zero.

    Source: Softmax and PopulateSoftmaxLookupTable, tflite/kernels/internal/optimized/optimized_ops.h.
    """
    (codes,) = _codes(operands, scales)
    below = tf.reduce_max(codes, axis=-1, keepdims=True) - codes
    powers = tf.cast(tf.exp(tf.cast(-scales[0] * below, tf.float64)), tf.float32)  # as the C library rounds them
    total = tf.cumsum(powers, axis=-1)[..., -1:]  # `reduce_sum` adds in another order
    real = powers * tf.cast(256.0 / tf.cast(total, tf.float64), tf.float32)  # a graph's 1 / x is no float32 division
    return scale * (tf.floor(real) + tf.cast(real - tf.floor(real) >= 0.5, tf.float32))


def _square_root(operands: Operands, scales: Operands, scale: tf.Tensor) -> tf.Tensor:
    """LiteRT's kernel rounds downwards."""
    (codes,) = _codes(operands, scales)
    return scale * tf.floor(tf.sqrt(codes * scales[0]) / scale)


def _inverse_square_root(operands: Operands, scales: Operands, scale: tf.Tensor) -> tf.Tensor:
    """LiteRT's kernel: the inverse root of the code with 20 bits behind the point, rescaled; of code 0, the largest.

    Source: RsqrtEvalQuantizedInt8, tflite/kernels/elementwise.cc.
    """
    (codes,) = _codes(operands, scales)
    roots = tf.round(2.0**20 * tf.math.rsqrt(tf.cast(tf.maximum(codes, 1.0), tf.float64)))
    factor = 1.0 / tf.cast(tf.sqrt(scales[0]) * scale, tf.float64)
    rescaled = tf.cast(multiply_by_quantized_multiplier(roots, factor / 2.0**20, away=True), tf.float32)
    return scale * tf.where(codes > 0, rescaled, 2.0**8)


def _absolute(operands: Operands, scales: Operands, scale: tf.Tensor) -> tf.Tensor:
    """LiteRT's kernel: rounded twice, the second time halves away from zero."""
    (codes,) = _codes(operands, scales)
    return scale * multiply_by_quantized_multiplier(tf.abs(codes), scales[0] / scale, away=True)


def _average(
    operands: Operands, scales: Operands, scale: tf.Tensor, *, zero_point: tf.Tensor, **attrs: Any
) -> tf.Tensor:
    """LiteRT's kernel: the mean of the codes themselves, halves away from code 0; padding does not count.

    Source: AveragePool, tflite/kernels/internal/reference/integer_ops/pooling.h.
    """
    (codes,) = _codes(operands, scales)
    ones = tf.ones_like(codes[:1, ..., :1])
    counts = tf.nn.conv2d(ones, tf.ones([*attrs["ksize"], 1, 1]), attrs["strides"], attrs["padding"])
    total = tf.round(OPERATIONS["avg_pool"](codes, **attrs) * counts) + zero_point * counts
    total, counts = tf.cast(total, tf.int32), tf.cast(counts, tf.int32)  # floats: a graph multiplies by 1 / counts
    mean = tf.sign(total) * ((tf.abs(total) + counts // 2) // counts)
    return scale * (tf.cast(mean, tf.float32) - zero_point)


def _resize_bilinear(operands: Operands, scales: Operands, scale: tf.Tensor, **attrs: Any) -> tf.Tensor:
    """XNNPACK's kernel: two rows and two columns with weights in 1 / 2048, rounded once, halves upwards.

    Source: xnn_indirection_init_resize_bilinear2d_hwc_q11, XNNPACK src/indirection.c.
    """
    (codes,) = _codes(operands, scales)
    if None in codes.shape[1:3]:
        return scale * tf.floor(OPERATIONS["resize_bilinear"](codes, **attrs) + 0.5)
    codes = tf.cast(codes, tf.int32)
    for axis, (count, size_out) in enumerate(zip(codes.shape[1:3], attrs["size"], strict=True), start=1):
        low, high, share = _interpolation(int(count), int(size_out), **attrs)
        share = share.reshape([-1, 1, 1] if axis == 1 else [-1, 1])
        codes = tf.gather(codes, low, axis=axis) * (2048 - share) + tf.gather(codes, high, axis=axis) * share
    return scale * tf.cast(tf.bitwise.right_shift(codes + (1 << 21), 22), tf.float32)


def _interpolation(
    count: int, size_out: int, *, size: Any = None, align_corners: bool = False, half_pixel_centers: bool = True
) -> tuple[NDArray[np.int32], ...]:
    """For each of `size_out` positions its two neighbours of `count`, and its distance to the first in 1/2048."""
    corner = int(align_corners and size_out != 1)
    stride, half = np.float32(count - corner) / np.float32(size_out - corner), np.float32(0.5)
    position = np.arange(size_out, dtype=np.float32) * stride
    if half_pixel_centers and not align_corners:
        position = np.clip(position + (half * stride - half), np.float32(0), np.float32(count - 1))
    low = position.astype(np.int32)
    return low, np.minimum(low + 1, count - 1), np.rint((position - low) * np.float32(2048)).astype(np.int32)


def _requantize(operands: Operands, scales: Operands, scale: tf.Tensor, *, times: int = 1) -> tf.Tensor:
    """XNNPACK's QUANTIZE from codes to codes."""
    (codes,) = _codes(operands, scales)
    return scale * multiply_by_q8_multiplier(codes, scales[0] / scale)


def _compare(op: str) -> Callable[..., tf.Tensor]:
    """LiteRT's kernel: both operands as integers in 1/256."""

    def run(operands: Operands, scales: Operands, scale: None) -> tf.Tensor:
        codes = zip(_codes(operands, scales), scales, strict=True)
        return OPERATIONS[op](*(multiply_by_quantized_multiplier(256.0 * each, own, away=True) for each, own in codes))

    return run


INTEGER_KERNELS: dict[str, Callable[..., tf.Tensor]] = {
    "abs": _absolute,
    "add": _sum(1.0),
    "avg_pool": _average,
    "batch_matmul": _matrix_product,
    "leaky_relu": _leaky_relu,
    "mean": _mean,
    "mul": _product,
    "prelu": _prelu,
    "relu": _relu,
    "relu6": partial(_relu, most=6.0),
    "requantize": _requantize,
    "resize_bilinear": _resize_bilinear,
    "rsqrt": _inverse_square_root,
    "softmax": _softmax,
    "sqrt": _square_root,
    "squared_difference": _squared_difference,
    "sub": _sum(-1.0),
    "sum": _total,
    **{op: _compare(op) for op in COMPARISONS},
}
WITHOUT_OUTPUT_CODES = frozenset(COMPARISONS)  # their output is boolean
TAKES_ZERO_POINT = frozenset({"avg_pool", "mean", "sum"})  # these take `zero_point` too, that of the output
TAKES_ZERO_POINTS = frozenset({"batch_matmul"})  # and these `zero_points`, those of the operands
