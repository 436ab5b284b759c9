"""Ops without weights as the integer kernels of the deployed file compute them.

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
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array
from qat.quantization.kernels.quotients import divide_codes
from qat.quantization.kernels.requantize import (
    add_like_xnnpack,
    multiply_by_q8_multiplier,
    multiply_by_quantized_multiplier,
    rescaling_factor,
)
from qat.quantization.rewrites.comparisons import COMPARISONS

Operands = Sequence[Array]


def _codes(operands: Operands, scales: Operands) -> list[Array]:
    """Codes less the zero point."""
    return [arrays.rint(x / scale) for x, scale in zip(operands, scales, strict=True)]


def _sum(sign: float) -> Callable[..., Array]:
    def run(operands: Operands, scales: Operands, scale: Array) -> Array:
        codes = _codes(operands, scales)
        return scale * add_like_xnnpack(*codes, scales[0] / scale, sign * (scales[1] / scale))

    return run


def _product(operands: Operands, scales: Operands, scale: Array) -> Array:
    """The product of codes, below 2^16 and so exact, times one float32; halves to even."""
    x, y = (arrays.cast(codes, "int32") for codes in _codes(operands, scales))
    total = arrays.cast(x * y, "float32")  # of three float32 factors, a graph multiplies the last two first
    return scale * arrays.rint(total * rescaling_factor(*scales, scale))


def _quotient(operands: Operands, scales: Operands, scale: Array) -> Array:
    """LiteRT's kernel, whose factor is of float32. No denominator is at code 0: the file moves it by one."""
    product = arrays.cast(arrays.cast(scales[1], "float64") * arrays.cast(scale, "float64"), "float32")
    return scale * divide_codes(*_codes(operands, scales), _divide(scales[0], product))


def _matrix_product(
    operands: Operands, scales: Operands, scale: Array, *, zero_points: Operands, **attrs: Any
) -> Array:
    """Sums of products. XNNPACK runs those whose second operand has zero point 0, as weights have: halves to even.
    LiteRT's own kernel runs the others: rounded twice, the second time halves away from zero.
    """
    total, factor = (
        arrays.run(OPERATIONS["batch_matmul"], *_codes(operands, scales), **attrs),
        rescaling_factor(*scales, scale),
    )
    rescaled = multiply_by_quantized_multiplier(total, factor, away=True)
    return scale * arrays.where(zero_points[1] == 0.0, arrays.rint(total * factor), rescaled)


def _reduce(is_mean: bool) -> Callable[..., Array]:
    """XNNPACK's sums and means: the sum of the codes themselves, times a float32, plus a float32 in which both zero
    points are; halves to the even code. Order and roundings are measured, of 120,000 codes on six ratios of scales."""

    def run(
        operands: Operands, scales: Operands, scale: Array, *, zero_point: Array, zero_points: Operands, **attrs: Any
    ) -> Array:
        (codes,) = _codes(operands, scales)
        total = arrays.run(OPERATIONS["sum"], codes, **attrs)
        count = arrays.size(codes) / arrays.size(total)
        factor = _divide(_divide(scales[0], scale), count if is_mean else 1.0)
        of_zeros = arrays.cast(count, "float32") * zero_points[0]
        shift = zero_point - of_zeros * factor
        return scale * (arrays.rint((total + of_zeros) * factor + shift) - zero_point)

    return run


def _divide(x: Array, y: Array) -> Array:
    """The float32 quotient, which a graph would make a product with 1 / y where y is a constant."""
    return arrays.cast(arrays.cast(x, "float64") / arrays.cast(y, "float64"), "float32")


def _leaky_relu(operands: Operands, scales: Operands, scale: Array, *, alpha: float) -> Array:
    (codes,) = _codes(operands, scales)
    factor = scales[0] / scale
    branches = multiply_by_q8_multiplier(codes, factor), multiply_by_q8_multiplier(codes, alpha * scales[0] / scale)
    return scale * arrays.where(codes >= 0, *branches)


def _prelu(operands: Operands, scales: Operands, scale: Array) -> Array:
    """LiteRT's own kernel: negative codes are first multiplied by the code of their slope."""
    codes, slopes = _codes(operands, scales)
    above = multiply_by_quantized_multiplier(codes, scales[0] / scale, away=True)
    below = multiply_by_quantized_multiplier(codes * slopes, rescaling_factor(*scales, scale), away=True)
    return scale * arrays.where(codes >= 0, above, below)


def _relu(
    operands: Operands, scales: Operands, scale: Array, *, most: float = math.inf, with_zero: float = 0.0
) -> Array:
    """LiteRT's own kernel of an activation that is not fused: rounded twice, the second time halves away from zero.

    `with_zero` is about the gradient alone.
    """
    (codes,) = _codes(operands, scales)
    rescaled = multiply_by_quantized_multiplier(arrays.relu(codes), scales[0] / scale, away=True)
    return scale * arrays.minimum(rescaled, arrays.rint(most / scale))


def _squared_difference(operands: Operands, scales: Operands, scale: Array) -> Array:
    """LiteRT's kernel: both operands in 1/64 of the coarser scale, and the square of their difference."""
    widest = 2.0 * arrays.maximum(*scales)
    x, y = (
        multiply_by_quantized_multiplier(codes * 128.0, own / widest, away=True)
        for codes, own in zip(_codes(operands, scales), scales, strict=True)
    )
    square = arrays.cast(x - y, "float64") ** 2
    factor = arrays.cast(widest, "float64") ** 2 / (128.0**2 * arrays.cast(scale, "float64"))
    return scale * arrays.cast(multiply_by_quantized_multiplier(square, factor, away=True), "float32")


def _softmax(operands: Operands, scales: Operands, scale: Array) -> Array:
    """LiteRT's kernel: exponentials of a table, added one after another in float32, halves away from zero.

    Source: Softmax and PopulateSoftmaxLookupTable, tflite/kernels/internal/optimized/optimized_ops.h.
    """
    (codes,) = _codes(operands, scales)
    below = arrays.largest(codes, axis=-1, keepdims=True) - codes
    powers = arrays.cast(
        arrays.exp(arrays.cast(-scales[0] * below, "float64")), "float32"
    )  # as the C library rounds them
    total = arrays.cumulated(powers)[..., -1:]  # `reduce_sum` adds in another order
    real = powers * arrays.cast(
        256.0 / arrays.cast(total, "float64"), "float32"
    )  # a graph's 1 / x is no float32 division
    return scale * (arrays.floor(real) + arrays.cast(real - arrays.floor(real) >= 0.5, "float32"))


def _square_root(operands: Operands, scales: Operands, scale: Array) -> Array:
    """LiteRT's kernel rounds downwards."""
    (codes,) = _codes(operands, scales)
    return scale * arrays.floor(arrays.sqrt(codes * scales[0]) / scale)


ROOTS_BELOW = (2.0, 8.0, 131.0)  # codes for which LiteRT's iteration ends 2**-20 below the inverse root


def _inverse_square_root(operands: Operands, scales: Operands, scale: Array) -> Array:
    """LiteRT's kernel: the inverse root of the code with 20 bits after the point, rescaled; of code 0, the largest.

    Source: RsqrtEvalQuantizedInt8, tflite/kernels/elementwise.cc.
    """
    (codes,) = _codes(operands, scales)
    below = sum(arrays.cast(codes == code, "float64") for code in ROOTS_BELOW)
    roots = arrays.rint(2.0**20 * arrays.rsqrt(arrays.cast(arrays.maximum(codes, 1.0), "float64"))) - below
    factor = 1.0 / arrays.cast(arrays.sqrt(scales[0]) * scale, "float64")
    rescaled = arrays.cast(multiply_by_quantized_multiplier(roots, factor / 2.0**20, away=True), "float32")
    return scale * arrays.where(codes > 0, rescaled, 2.0**8)


def _absolute(operands: Operands, scales: Operands, scale: Array) -> Array:
    """LiteRT's kernel: rounded twice, the second time halves away from zero."""
    (codes,) = _codes(operands, scales)
    return scale * multiply_by_quantized_multiplier(arrays.absolute(codes), scales[0] / scale, away=True)


def _average(operands: Operands, scales: Operands, scale: Array, *, zero_point: Array, **attrs: Any) -> Array:
    """LiteRT's kernel: the mean of the codes themselves, halves away from code 0; padding does not count.

    Source: AveragePool, tflite/kernels/internal/reference/integer_ops/pooling.h.
    """
    (codes,) = _codes(operands, scales)
    ones = arrays.ones_like(codes[:1, ..., :1])
    window = np.ones([*attrs["ksize"], 1, 1], np.float32)
    counts = arrays.run(partial(tf.nn.conv2d, strides=attrs["strides"], padding=attrs["padding"]), ones, window)
    total = arrays.rint(arrays.run(OPERATIONS["avg_pool"], codes, **attrs) * counts) + zero_point * counts
    total, counts = (arrays.cast(each, "int32") for each in (total, counts))  # floats: a graph multiplies by 1 / counts
    mean = arrays.sign(total) * ((arrays.absolute(total) + counts // 2) // counts)
    return scale * (arrays.cast(mean, "float32") - zero_point)


def _resize_bilinear(operands: Operands, scales: Operands, scale: Array, **attrs: Any) -> Array:
    """XNNPACK's kernel: two rows and two columns with weights in 1 / 2048, rounded once, halves upwards.

    Source: xnn_indirection_init_resize_bilinear2d_hwc_q11, XNNPACK src/indirection.c.
    """
    (codes,) = _codes(operands, scales)
    if None in codes.shape[1:3]:
        return scale * arrays.floor(arrays.run(OPERATIONS["resize_bilinear"], codes, **attrs) + 0.5)
    codes = arrays.cast(codes, "int32")
    for axis, (count, size_out) in enumerate(zip(codes.shape[1:3], attrs["size"], strict=True), start=1):
        low, high, share = _interpolation(int(count), int(size_out), **attrs)
        share = share.reshape([-1, 1, 1] if axis == 1 else [-1, 1])
        codes = arrays.take(codes, low, axis=axis) * (2048 - share) + arrays.take(codes, high, axis=axis) * share
    return scale * arrays.cast(arrays.right_shift(codes + (1 << 21), 22), "float32")


def _interpolation(
    count: int,
    size_out: int,
    *,
    size: Sequence[int] | None = None,
    align_corners: bool = False,
    half_pixel_centers: bool = True,
) -> tuple[NDArray[np.int32], ...]:
    """For each of `size_out` positions its two neighbours of `count`, and its distance to the first in 1/2048."""
    corner = int(align_corners and size_out != 1)
    stride, half = np.float32(count - corner) / np.float32(size_out - corner), np.float32(0.5)
    position = np.arange(size_out, dtype=np.float32) * stride
    if half_pixel_centers and not align_corners:
        position = np.clip(position + (half * stride - half), np.float32(0), np.float32(count - 1))
    low = position.astype(np.int32)
    return low, np.minimum(low + 1, count - 1), np.rint((position - low) * np.float32(2048)).astype(np.int32)


def _requantize(operands: Operands, scales: Operands, scale: Array, *, times: int = 1) -> Array:
    """XNNPACK's QUANTIZE from codes to codes."""
    (codes,) = _codes(operands, scales)
    return scale * multiply_by_q8_multiplier(codes, scales[0] / scale)


def _round(operands: Operands, scales: Operands, scale: Array, *, low: float | None = None) -> Array:
    """XNNPACK's product with a 1 of scale 1: codes times one float32; halves to even, as tf.round."""
    (codes,) = _codes(operands, scales)
    return scale * arrays.rint(codes * rescaling_factor(scales[0], np.float32(1.0), scale))


def _compare(op: str) -> Callable[..., Array]:
    """LiteRT's kernel: both operands as integers in 1/256."""

    def run(operands: Operands, scales: Operands, scale: None) -> Array:
        codes = zip(_codes(operands, scales), scales, strict=True)
        return arrays.run(
            OPERATIONS[op], *(multiply_by_quantized_multiplier(256.0 * each, own, away=True) for each, own in codes)
        )

    return run


SIMULATED_KERNELS: dict[str, Callable[..., Array]] = {  # computed as the file's kernel does, not by float and a grid
    "abs": _absolute,
    "add": _sum(1.0),
    "avg_pool": _average,
    "batch_matmul": _matrix_product,
    "div": _quotient,
    "leaky_relu": _leaky_relu,
    "mean": _reduce(is_mean=True),
    "mul": _product,
    "prelu": _prelu,
    "relu": _relu,
    "relu6": partial(_relu, most=6.0),
    "requantize": _requantize,
    "resize_bilinear": _resize_bilinear,
    "round": _round,
    "rsqrt": _inverse_square_root,
    "softmax": _softmax,
    "sqrt": _square_root,
    "squared_difference": _squared_difference,
    "sub": _sum(-1.0),
    "sum": _reduce(is_mean=False),
    **{op: _compare(op) for op in COMPARISONS},
}
WITHOUT_OUTPUT_CODES = frozenset(COMPARISONS)  # their output is boolean
TAKES_ZERO_POINT = frozenset({"avg_pool", "mean", "sum"})  # these take `zero_point` too, that of the output
TAKES_ZERO_POINTS = frozenset({"batch_matmul", "mean", "sum"})  # and these `zero_points`, those of the operands
