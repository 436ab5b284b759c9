"""From integers to the codes of the output, as LiteRT's own kernels and XNNPACK's do it, in TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from qat.codes import scale_of_range

_ONE = 2.0**31


def quantize_multiplier(factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`factor` = m / 2^31 * 2^shift with an integer m in [2^30, 2^31): m and shift, float64, shaped as `factor`.

    Source: QuantizeMultiplier, tflite/kernels/internal/quantization_util.cc.
    """
    factor = tf.cast(factor, tf.float64)
    shift = tf.floor(tf.math.log(factor) / tf.math.log(tf.constant(2.0, tf.float64))) + 1.0
    fraction = factor / 2.0**shift
    shift, fraction = (  # the logarithm may miss a power of two by one
        shift + tf.cast(fraction >= 1.0, tf.float64) - tf.cast(fraction < 0.5, tf.float64),
        tf.where(fraction >= 1.0, fraction / 2.0, tf.where(fraction < 0.5, fraction * 2.0, fraction)),
    )
    mantissa = tf.floor(fraction * _ONE + 0.5)
    full = mantissa >= _ONE
    return tf.where(full, mantissa / 2.0, mantissa), tf.where(full, shift + 1.0, shift)


def rescaling_factor(x_scale: tf.Tensor, y_scale: tf.Tensor, output_scale: tf.Tensor) -> tf.Tensor:
    """`x_scale * y_scale / output_scale`, product and quotient each rounded to float32, as the runtime does it.

    Casts to float64 in between keep TensorFlow's graph optimizer from reordering the two.

    Args:
        x_scale: scale of the first operand, float32, a scalar.
        y_scale: scale of the second operand (of a kernel: [channels]), float32.
        output_scale: scale of the output, float32, a scalar.

    Returns:
        float32, as large as `y_scale`.
    """
    product = tf.cast(tf.cast(x_scale, tf.float64) * tf.cast(y_scale, tf.float64), tf.float32)
    return tf.cast(tf.cast(product, tf.float64) / tf.cast(output_scale, tf.float64), tf.float32)


def multiplier(x_scale: tf.Tensor, y_scale: tf.Tensor, output_scale: tf.Tensor) -> tf.Tensor:
    """`x_scale * y_scale / output_scale` in double precision, as LiteRT's own kernels of convolutions compute it.

    Source: PopulateConvolutionQuantizationParams, tflite/kernels/kernel_util.cc.

    Args:
        x_scale: scale of the input, a scalar.
        y_scale: scale of the kernel, a scalar or [channels].
        output_scale: scale of the output, a scalar.

    Returns:
        float64, as large as `y_scale`.
    """
    x_scale, y_scale, output_scale = (tf.cast(each, tf.float64) for each in (x_scale, y_scale, output_scale))
    return x_scale * y_scale / output_scale


def multiply_by_quantized_multiplier(total: tf.Tensor, factor: tf.Tensor, away: bool = False) -> tf.Tensor:
    """`total * factor` in integers, rounded after the multiplication and once more after the shift to the right.

    Kernels that XNNPACK does not run (weights of 4 bits among them) do this. With large factors, as coarse
    weights have them, the first rounding is coarse too: 19.48 becomes 39 halves and then 20.

    Source: MultiplyByQuantizedMultiplier, tflite/kernels/internal/common.h.

    Args:
        total: integers, float32 [..., channels].
        factor: input scale times kernel scale over output scale, a scalar or [channels].
        away: the second rounding rounds halves away from zero, as gemmlowp's RoundingDivideByPOT does; else upwards.

    Returns:
        Integers, of the shape and dtype of `total`.
    """
    return multiply_by_rounding_factors(total, rounding_factors(factor), away)


def rounding_factors(factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The factors before the two roundings of `multiply_by_quantized_multiplier`, float64, shaped as `factor`.

    The first is the multiplier with a shift to the left, the second the shift to the right; their product is `factor`.
    """
    mantissa, shift = quantize_multiplier(factor)
    return 2.0 ** tf.maximum(shift, 0.0) * (mantissa / _ONE), 2.0 ** tf.minimum(shift, 0.0)


def multiply_by_rounding_factors(
    total: tf.Tensor, factors: tuple[tf.Tensor, tf.Tensor], away: bool = False
) -> tf.Tensor:
    """`multiply_by_quantized_multiplier` with `rounding_factors` computed before, as for all iterations of a loop.

    Args:
        total: integers, float32 [..., channels].
        factors: what `rounding_factors` returned.
        away: the second rounding rounds halves away from zero; else upwards.

    Returns:
        Integers, of the shape and dtype of `total`.
    """
    multiplied, right = factors
    shifted = tf.floor(tf.cast(total, tf.float64) * multiplied + 0.5) * right
    rounded = tf.sign(shifted) * tf.floor(tf.abs(shifted) + 0.5) if away else tf.floor(shifted + 0.5)
    return tf.cast(rounded, total.dtype)


def round_like_converter(values: tf.Tensor, low: tf.Tensor, high: tf.Tensor, zero_point: tf.Tensor) -> tf.Tensor:
    """Constants on the int8 grid of a range as TensorFlow's converter rounds them: in float64, halves away from code 0.

    Source: UniformQuantizedValueConverter, MLIR's QuantOps.

    Args:
        values: real numbers of any shape.
        low: lower limit of the range, a scalar.
        high: upper limit, a scalar.
        zero_point: code of 0, a scalar.

    Returns:
        Real numbers on the grid, of the shape and dtype of `values`.
    """
    low, high, zero_point = (tf.cast(each, tf.float64) for each in (low, high, zero_point))
    scale = scale_of_range(low, high, 255.0)
    codes = tf.cast(values, tf.float64) / scale + zero_point
    codes = tf.clip_by_value(tf.sign(codes) * tf.floor(tf.abs(codes) + 0.5), -128.0, 127.0)
    return tf.cast((codes - zero_point) * scale, values.dtype)


def multiply_by_quantized_multiplier_in_blocks_of_8(total: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """`total * factor` as LiteRT's transposed convolution rounds it, which computes eight channels at once.

    Halves go upwards in full blocks of eight channels, and away from zero in the channels behind these.

    Args:
        total: integers, float32 [..., channels].
        factor: input scale times kernel scale over output scale, a scalar or [channels].

    Returns:
        Integers, of the shape and dtype of `total`.
    """
    channels = int(total.shape[-1])
    blocks = channels // 8 * 8
    if blocks in (0, channels):
        return multiply_by_quantized_multiplier(total, factor, away=blocks == 0)
    both = multiply_by_quantized_multiplier(total, factor), multiply_by_quantized_multiplier(total, factor, away=True)
    return tf.where(tf.range(channels) < blocks, *both)


def multiply_by_q8_multiplier(codes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """`codes * factor` in integers, the factor rounded to 8 bits behind the point, halves upwards.

    XNNPACK takes factors from 1/256 to 128; others are LiteRT's, by `multiply_by_quantized_multiplier`.
    Source: xnn_init_qs8_lrelu_scalar_params and xnn_init_qs8_cvt_scalar_params, XNNPACK src/microparams-init.c.

    Args:
        codes: integers, codes less the zero point, float32 of any shape.
        factor: input scale over output scale, a scalar; negative for a negative slope.

    Returns:
        Integers, of the shape and dtype of `codes`.
    """
    multiplier = tf.round(256.0 * factor)
    coarse = tf.floor(codes * multiplier / 256.0 + 0.5)
    is_in_range = (tf.abs(factor) >= 1 / 256) & (tf.abs(factor) <= 128.0)
    return tf.where(is_in_range, coarse, multiply_by_quantized_multiplier(codes, tf.abs(factor)) * tf.sign(factor))


def add_like_xnnpack(x: tf.Tensor, y: tf.Tensor, x_factor: tf.Tensor, y_factor: tf.Tensor) -> tf.Tensor:
    """`x * x_factor + y * y_factor` in integers: both factors rounded to 21 bits, halves rounded upwards.

    Source: xnn_init_qs8_add_minmax_scalar_params, XNNPACK src/microparams-init.c.

    Args:
        x: integers, codes less the zero point, float32.
        y: the same, of a shape that broadcasts with that of `x`.
        x_factor: scale of `x` over that of the output, a scalar.
        y_factor: the same of `y`; negative to subtract.

    Returns:
        Integers, of the broadcast shape and the dtype of `x`.
    """
    factors = tf.cast(tf.stack([x_factor, y_factor]), tf.float64)
    largest = tf.reduce_max(tf.abs(factors))
    _, exponent = quantize_multiplier(largest)
    shifted = 2.0 ** (21.0 - exponent)  # the larger factor has 21 bits
    multipliers = tf.round(factors * shifted)
    total = tf.cast(x, tf.float64) * multipliers[0] + tf.cast(y, tf.float64) * multipliers[1]
    return tf.cast(tf.floor(total / shifted + 0.5), x.dtype)
