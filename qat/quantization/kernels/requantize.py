"""From integers to the codes of the output, as LiteRT's own kernels and XNNPACK's do it."""

from __future__ import annotations

import math

import numpy as np

from qat.codes import scale_of_range
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array

_ONE = 2.0**31


def quantize_multiplier(factor: Array) -> tuple[Array, Array]:
    """`factor` = m / 2^31 * 2^shift with an integer m in [2^30, 2^31): m and shift, float64, shaped as `factor`.

    Source: QuantizeMultiplier, tflite/kernels/internal/quantization_util.cc.
    """
    factor = arrays.cast(factor, "float64")
    shift = arrays.floor(arrays.log(factor) / math.log(2.0)) + 1.0
    fraction = factor / 2.0**shift
    shift, fraction = (  # the logarithm may miss a power of two by one
        shift + arrays.cast(fraction >= 1.0, "float64") - arrays.cast(fraction < 0.5, "float64"),
        arrays.where(fraction >= 1.0, fraction / 2.0, arrays.where(fraction < 0.5, fraction * 2.0, fraction)),
    )
    mantissa = arrays.floor(fraction * _ONE + 0.5)
    full = mantissa >= _ONE
    return arrays.where(full, mantissa / 2.0, mantissa), arrays.where(full, shift + 1.0, shift)


def rescaling_factor(x_scale: Array, y_scale: Array, output_scale: Array) -> Array:
    """`x_scale * y_scale / output_scale`, product and quotient each rounded to float32, as the runtime does it.

    Casts to float64 in between keep TensorFlow's graph optimizer from reordering the two.

    Args:
        x_scale: scale of the first operand, float32, a scalar.
        y_scale: scale of the second operand, float32, a scalar; of a kernel [channels].
        output_scale: scale of the output, float32, a scalar.

    Returns:
        float32, of the shape of `y_scale`.
    """
    product = arrays.cast(arrays.cast(x_scale, "float64") * arrays.cast(y_scale, "float64"), "float32")
    return arrays.cast(arrays.cast(product, "float64") / arrays.cast(output_scale, "float64"), "float32")


def multiplier(x_scale: Array, y_scale: Array, output_scale: Array) -> Array:
    """`x_scale * y_scale / output_scale` in double precision, as LiteRT's own kernels of convolutions compute it.

    Source: PopulateConvolutionQuantizationParams, tflite/kernels/kernel_util.cc.

    Args:
        x_scale: scale of the input, float32, a scalar.
        y_scale: scale of the kernel, float32, a scalar or [channels].
        output_scale: scale of the output, float32, a scalar.

    Returns:
        float64, of the shape of `y_scale`.
    """
    x_scale, y_scale, output_scale = (arrays.cast(each, "float64") for each in (x_scale, y_scale, output_scale))
    return x_scale * y_scale / output_scale


def multiply_by_quantized_multiplier(total: Array, factor: Array, away: bool = False) -> Array:
    """`total * factor` in integers, rounded after the multiplication and once more after the shift to the right.

    Kernels that XNNPACK does not run (weights of 4 bits among them) do this. With large factors, as coarse
    weights have them, the first rounding is coarse too: 19.48 becomes 39 halves and then 20.

    Source: MultiplyByQuantizedMultiplier, tflite/kernels/internal/common.h.

    Args:
        total: sums in the accumulator: integers, held in float32 [..., channels].
        factor: input scale times kernel scale over output scale, a scalar or [channels].
        away: whether the second rounding rounds halves away from zero, as gemmlowp's RoundingDivideByPOT does; else
            upwards.

    Returns:
        Integers, of the shape and dtype of `total`.
    """
    return multiply_by_rounding_factors(total, rounding_factors(factor), away)


def rounding_factors(factor: Array) -> tuple[Array, Array]:
    """The factors before the two roundings of `multiply_by_quantized_multiplier`, float64, shaped as `factor`.

    The first is the multiplier with a shift to the left, the second the shift to the right; their product is `factor`.
    """
    mantissa, shift = quantize_multiplier(factor)
    return 2.0 ** arrays.maximum(shift, 0.0) * (mantissa / _ONE), 2.0 ** arrays.minimum(shift, 0.0)


def multiply_by_rounding_factors(total: Array, factors: tuple[Array, Array], away: bool = False) -> Array:
    """`multiply_by_quantized_multiplier` with `rounding_factors` computed before, as for all iterations of a loop.

    Args:
        total: sums in the accumulator: integers, held in float32 [..., channels].
        factors: what `rounding_factors` returned, two scalars or [channels] each.
        away: whether the second rounding rounds halves away from zero; else upwards.

    Returns:
        Integers, of the shape and dtype of `total`.
    """
    multiplied, right = factors
    shifted = arrays.floor(arrays.cast(total, "float64") * multiplied + 0.5) * right
    rounded = arrays.round_half_away(shifted) if away else arrays.floor(shifted + 0.5)
    return arrays.cast(rounded, total.dtype)


def quantize_constants(values: Array, low: Array, high: Array, zero_point: Array) -> tuple[Array, Array]:
    """Constants on the int8 grid of a range as TensorFlow's converter rounds them: in float64, halves away from code 0.

    A half is one within a millionth of a code: a graph that divides by a constant may multiply by its inverse.
    Source: UniformQuantizedValueConverter, MLIR's QuantOps.

    Args:
        values: real numbers of any shape.
        low: lower limit of the range, a scalar in the unit of `values`.
        high: upper limit of the range, a scalar in the same unit.
        zero_point: code that stands for 0, a scalar, -128 to 127.

    Returns:
        The codes, integers from -128 to 127 held in float64, and the real numbers that they stand for, in the dtype of
        `values`; both of its shape.
    """
    low, high, zero_point = (arrays.cast(each, "float64") for each in (low, high, zero_point))
    scale = scale_of_range(low, high, 255.0)
    codes = arrays.cast(values, "float64") / scale + zero_point
    codes = arrays.clip(arrays.round_half_away(arrays.rint(codes * 2.0**20) / 2.0**20), -128.0, 127.0)
    return codes, arrays.cast((codes - zero_point) * scale, values.dtype)


def multiply_by_quantized_multiplier_in_blocks_of_8(total: Array, factor: Array) -> Array:
    """`total * factor` as LiteRT's transposed convolution rounds it, which computes eight channels at once.

    Halves go upwards in full blocks of eight channels, and away from zero in the channels after these.

    Args:
        total: sums in the accumulator: integers, held in float32 [..., channels].
        factor: input scale times kernel scale over output scale, a scalar or [channels].

    Returns:
        Integers, of the shape and dtype of `total`.
    """
    channels = int(total.shape[-1])
    blocks = channels // 8 * 8
    if blocks in (0, channels):
        return multiply_by_quantized_multiplier(total, factor, away=blocks == 0)
    both = multiply_by_quantized_multiplier(total, factor), multiply_by_quantized_multiplier(total, factor, away=True)
    return arrays.where(np.arange(channels) < blocks, *both)


def multiply_by_q8_multiplier(codes: Array, factor: Array) -> Array:
    """`codes * factor` in integers, the factor rounded to 8 bits after the point, halves upwards.

    XNNPACK takes factors from 1/256 to 128; others are LiteRT's, by `multiply_by_quantized_multiplier`.
    Source: xnn_init_qs8_lrelu_scalar_params and xnn_init_qs8_cvt_scalar_params, XNNPACK src/microparams-init.c.

    Args:
        codes: codes less the zero point: integers, held in float32 of any shape.
        factor: input scale over output scale, a scalar; negative for a negative slope.

    Returns:
        Integers, of the shape and dtype of `codes`.
    """
    multiplier = arrays.rint(256.0 * factor)
    coarse = arrays.floor(codes * multiplier / 256.0 + 0.5)
    is_in_range = (arrays.absolute(factor) >= 1 / 256) & (arrays.absolute(factor) <= 128.0)
    return arrays.where(
        is_in_range, coarse, multiply_by_quantized_multiplier(codes, arrays.absolute(factor)) * arrays.sign(factor)
    )


def add_like_xnnpack(x: Array, y: Array, x_factor: Array, y_factor: Array) -> Array:
    """`x * x_factor + y * y_factor` in integers: both factors rounded to 21 bits, halves rounded upwards.

    Source: xnn_init_qs8_add_minmax_scalar_params, XNNPACK src/microparams-init.c.

    Args:
        x: codes of the first operand less its zero point: integers, held in float32 of any shape.
        y: codes of the second operand less its zero point, of a shape that broadcasts with that of `x`.
        x_factor: scale of `x` over the scale of the output, a scalar.
        y_factor: scale of `y` over the scale of the output, a scalar; negative to subtract.

    Returns:
        Integers, of the broadcast shape and the dtype of `x`.
    """
    factors = arrays.cast(arrays.stack([x_factor, y_factor]), "float64")
    largest = arrays.largest(arrays.absolute(factors))
    _, exponent = quantize_multiplier(largest)
    shifted = 2.0 ** (21.0 - exponent)  # the larger factor has 21 bits
    multipliers = arrays.rint(factors * shifted)
    total = arrays.cast(x, "float64") * multipliers[0] + arrays.cast(y, "float64") * multipliers[1]
    return arrays.cast(arrays.floor(total / shifted + 0.5), x.dtype)
