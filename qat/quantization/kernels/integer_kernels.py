"""Ops without weights as the integer kernels of the deployed file compute them.

Each function takes a `KernelCall` and returns real numbers on the output's grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.quantization.ir.operations import COMPARISONS, OPERATIONS
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array
from qat.quantization.kernels.quotients import divide_codes
from qat.quantization.kernels.requantize import (
    add_like_xnnpack,
    multiply_by_q8_multiplier,
    multiply_by_quantized_multiplier,
    rescaling_factor,
)


@dataclass(frozen=True)
class KernelCall:
    """What a kernel is called with.

    Attributes:
        operands: real numbers on their grids.
        scales: scale of each operand.
        scale: scale of the output; None if that is boolean.
        attrs: attributes of the op.
        zero_points: function of no arguments to the code of 0 of each operand.
        zero_point: the same of the output.
    """

    operands: Sequence[Array]
    scales: Sequence[Array]
    scale: Array
    attrs: Mapping[str, Any] = field(default_factory=dict)
    zero_points: Callable[[], Sequence[Array]] = list
    zero_point: Callable[[], Array] = float

    def codes(self) -> list[Array]:
        """Codes of the operands, less their zero points."""
        return [arrays.rint(x / scale) for x, scale in zip(self.operands, self.scales, strict=True)]


def _sum(sign: float) -> Callable[..., Array]:
    def run(call: KernelCall) -> Array:
        codes = call.codes()
        return call.scale * add_like_xnnpack(*codes, call.scales[0] / call.scale, sign * (call.scales[1] / call.scale))

    return run


def _product(call: KernelCall) -> Array:
    """The product of codes, below 2^16 and so exact, times one float32; halves to even."""
    if call.operands[0] is call.operands[1]:
        return _square(call)
    x, y = (arrays.cast(codes, "int32") for codes in call.codes())
    total = arrays.cast(x * y, "float32")  # a graph multiplies the last two of three factors first
    return call.scale * arrays.rint(total * rescaling_factor(*call.scales, call.scale))


def _square(call: KernelCall) -> Array:
    """XNNPACK's product of a tensor with itself: the square of the real numbers in float32, times 1 / scale, plus the
    zero point; halves to even. Order and roundings are measured, of a million codes on 4,000 pairs of scales."""
    real = call.codes()[0] * call.scales[0]
    zero_point = call.zero_point()
    square = _multiply(_multiply(real, real), _divide(1.0, call.scale)) + zero_point
    return call.scale * (arrays.rint(square) - zero_point)


def _quotient(call: KernelCall) -> Array:
    """LiteRT's kernel, whose factor is of float32. No denominator is at code 0: the file moves it by one."""
    product = arrays.cast(arrays.cast(call.scales[1], "float64") * arrays.cast(call.scale, "float64"), "float32")
    return call.scale * divide_codes(*call.codes(), _divide(call.scales[0], product))


def _matrix_product(call: KernelCall) -> Array:
    """Sums of products. XNNPACK runs those whose second operand has zero point 0, as weights have: halves to even.
    LiteRT's own kernel runs the others: rounded twice, the second time halves away from zero.
    """
    total = arrays.run(OPERATIONS["batch_matmul"], *call.codes(), **call.attrs)
    factor = rescaling_factor(*call.scales, call.scale)
    rescaled = multiply_by_quantized_multiplier(total, factor, away=True)
    return call.scale * arrays.where(call.zero_points()[1] == 0.0, arrays.rint(total * factor), rescaled)


def _reduce(is_mean: bool) -> Callable[..., Array]:
    """XNNPACK's sums and means: the sum of the codes themselves, times a float32, plus a float32 in which both zero
    points are; halves to the even code. Order and roundings are measured, of 120,000 codes on six ratios of scales."""

    def run(call: KernelCall) -> Array:
        (codes,) = call.codes()
        total = arrays.run(OPERATIONS["sum"], codes, **call.attrs)
        count = arrays.size(codes) / arrays.size(total)
        factor = _divide(_divide(call.scales[0], call.scale), count if is_mean else 1.0)
        of_zeros = arrays.cast(count, "float32") * call.zero_points()[0]
        zero_point = call.zero_point()
        shift = zero_point - of_zeros * factor
        return call.scale * (arrays.rint((total + of_zeros) * factor + shift) - zero_point)

    return run


def _multiply(x: Array, y: Array) -> Array:
    """The float32 product; of three factors a graph might multiply the last two first."""
    return arrays.cast(arrays.cast(x, "float64") * arrays.cast(y, "float64"), "float32")


def _divide(x: Array, y: Array) -> Array:
    """The float32 quotient, which a graph would make a product with 1 / y where y is a constant."""
    return arrays.cast(arrays.cast(x, "float64") / arrays.cast(y, "float64"), "float32")


def _leaky_relu(call: KernelCall) -> Array:
    (codes,) = call.codes()
    above = multiply_by_q8_multiplier(codes, call.scales[0] / call.scale)
    below = multiply_by_q8_multiplier(codes, call.attrs["alpha"] * call.scales[0] / call.scale)
    return call.scale * arrays.where(codes >= 0, above, below)


def _prelu(call: KernelCall) -> Array:
    """LiteRT's own kernel: negative codes are first multiplied by the code of their slope."""
    codes, slopes = call.codes()
    above = multiply_by_quantized_multiplier(codes, call.scales[0] / call.scale, away=True)
    below = multiply_by_quantized_multiplier(codes * slopes, rescaling_factor(*call.scales, call.scale), away=True)
    return call.scale * arrays.where(codes >= 0, above, below)


def _relu(call: KernelCall, most: float = math.inf) -> Array:
    """LiteRT's own kernel of an activation that is not fused: rounded twice, the second time halves away from zero."""
    (codes,) = call.codes()
    rescaled = multiply_by_quantized_multiplier(arrays.relu(codes), call.scales[0] / call.scale, away=True)
    return call.scale * arrays.minimum(rescaled, arrays.rint(most / call.scale))


def _squared_difference(call: KernelCall) -> Array:
    """LiteRT's kernel: both operands in 1/64 of the coarser scale, and the square of their difference."""
    widest = 2.0 * arrays.maximum(*call.scales)
    x, y = (
        multiply_by_quantized_multiplier(codes * 128.0, own / widest, away=True)
        for codes, own in zip(call.codes(), call.scales, strict=True)
    )
    square = arrays.cast(x - y, "float64") ** 2
    factor = arrays.cast(widest, "float64") ** 2 / (128.0**2 * arrays.cast(call.scale, "float64"))
    return call.scale * arrays.cast(multiply_by_quantized_multiplier(square, factor, away=True), "float32")


def _softmax(call: KernelCall) -> Array:
    """LiteRT's kernel: exponentials of a table, added one after another in float32, halves away from zero.

    Source: Softmax and PopulateSoftmaxLookupTable, tflite/kernels/internal/optimized/optimized_ops.h.
    """
    (codes,) = call.codes()
    powers, total = _powers(codes, call.scales[0])
    real = powers * arrays.cast(
        256.0 / arrays.cast(total, "float64"), "float32"
    )  # a graph's 1 / x is no float32 division
    return call.scale * (arrays.floor(real) + arrays.cast(real - arrays.floor(real) >= 0.5, "float32"))


def _log_softmax(call: KernelCall) -> Array:
    """LiteRT's kernel: in float32, from codes with their zero point, halves to the even code.

    Source: LogSoftmax, tflite/kernels/internal/optimized/optimized_ops.h.
    """
    (codes,), scale = call.codes(), call.scales[0]
    with_zero_point = codes + arrays.cast(call.zero_points()[0], "float32")
    logarithm = arrays.cast(arrays.log(arrays.cast(_powers(codes, scale)[1], "float64")), "float32")
    subtracted = (scale * arrays.largest(with_zero_point, axis=-1, keepdims=True) + logarithm) / call.scale
    return call.scale * arrays.rint(scale / call.scale * with_zero_point - subtracted)


def _powers(codes: Array, scale: Array) -> tuple[Array, Array]:
    """Exponentials of the codes below the largest of the last axis, and their sum, in float32."""
    below = arrays.largest(codes, axis=-1, keepdims=True) - codes
    powers = arrays.cast(arrays.exp(arrays.cast(-scale * below, "float64")), "float32")  # as the C library rounds them
    return powers, arrays.cumulated(powers)[..., -1:]  # `reduce_sum` adds in another order


def _square_root(call: KernelCall) -> Array:
    """LiteRT's kernel rounds downwards."""
    (codes,) = call.codes()
    return call.scale * arrays.floor(arrays.sqrt(codes * call.scales[0]) / call.scale)


ROOTS_BELOW = (2.0, 8.0, 131.0)  # codes for which LiteRT's iteration ends 2**-20 below the inverse root


def _inverse_square_root(call: KernelCall) -> Array:
    """LiteRT's kernel: the inverse root of the code with 20 bits after the point, rescaled; of code 0, the largest.

    Source: RsqrtEvalQuantizedInt8, tflite/kernels/elementwise.cc.
    """
    (codes,) = call.codes()
    below = sum(arrays.cast(codes == code, "float64") for code in ROOTS_BELOW)
    roots = arrays.rint(2.0**20 * arrays.rsqrt(arrays.cast(arrays.maximum(codes, 1.0), "float64"))) - below
    factor = 1.0 / arrays.cast(arrays.sqrt(call.scales[0]) * call.scale, "float64")
    rescaled = arrays.cast(multiply_by_quantized_multiplier(roots, factor / 2.0**20, away=True), "float32")
    return call.scale * arrays.where(codes > 0, rescaled, 2.0**8)


def _absolute(call: KernelCall) -> Array:
    """LiteRT's kernel: rounded twice, the second time halves away from zero."""
    (codes,) = call.codes()
    return call.scale * multiply_by_quantized_multiplier(arrays.absolute(codes), call.scales[0] / call.scale, away=True)


def _average(call: KernelCall) -> Array:
    """LiteRT's kernel: the mean of the codes themselves, halves away from code 0; padding does not count.

    Source: AveragePool, tflite/kernels/internal/reference/integer_ops/pooling.h.
    """
    (codes,) = call.codes()
    attrs, zero_point = call.attrs, call.zero_point()
    ones = arrays.ones_like(codes[:1, ..., :1])
    window = np.ones([*attrs["ksize"], 1, 1], np.float32)
    counts = arrays.run(partial(tf.nn.conv2d, strides=attrs["strides"], padding=attrs["padding"]), ones, window)
    total = arrays.rint(arrays.run(OPERATIONS["avg_pool"], codes, **attrs) * counts) + zero_point * counts
    total, counts = (arrays.cast(each, "int32") for each in (total, counts))  # floats: a graph multiplies by 1 / counts
    mean = arrays.sign(total) * ((arrays.absolute(total) + counts // 2) // counts)
    return call.scale * (arrays.cast(mean, "float32") - zero_point)


def _resize_bilinear(call: KernelCall) -> Array:
    """XNNPACK's kernel: two rows and two columns with weights in 1 / 2048, rounded once, halves upwards.

    Source: xnn_indirection_init_resize_bilinear2d_hwc_q11, XNNPACK src/indirection.c.
    """
    (codes,) = call.codes()
    if None in codes.shape[1:3]:
        return call.scale * arrays.floor(arrays.run(OPERATIONS["resize_bilinear"], codes, **call.attrs) + 0.5)
    codes = arrays.cast(codes, "int32")
    for axis, (count, size_out) in enumerate(zip(codes.shape[1:3], call.attrs["size"], strict=True), start=1):
        low, high, share = _interpolation(int(count), int(size_out), **call.attrs)
        share = share.reshape([-1, 1, 1] if axis == 1 else [-1, 1])
        codes = arrays.take(codes, low, axis=axis) * (2048 - share) + arrays.take(codes, high, axis=axis) * share
    return call.scale * arrays.cast(arrays.right_shift(codes + (1 << 21), 22), "float32")


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


def _requantize(call: KernelCall) -> Array:
    """XNNPACK's QUANTIZE from codes to codes."""
    (codes,) = call.codes()
    return call.scale * multiply_by_q8_multiplier(codes, call.scales[0] / call.scale)


def _round(call: KernelCall) -> Array:
    """XNNPACK's product with a 1 of scale 1: codes times one float32; halves to even, as tf.round."""
    (codes,) = call.codes()
    return call.scale * arrays.rint(codes * rescaling_factor(call.scales[0], np.float32(1.0), call.scale))


def _compare(op: str) -> Callable[..., Array]:
    """LiteRT's kernel: both operands as integers in 1/256."""

    def run(call: KernelCall) -> Array:
        codes = zip(call.codes(), call.scales, strict=True)
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
    "log_softmax": _log_softmax,
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
