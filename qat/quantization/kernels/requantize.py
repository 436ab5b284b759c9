"""From integers to the codes of the output, as LiteRT's own kernels and XNNPACK's do it, in TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

_ONE = 2.0**31


def fixed_point(factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`factor` = m / 2^31 * 2^shift with a whole m in [2^30, 2^31): m and shift, float64, shaped as `factor`.

    Source: QuantizeMultiplier, tflite/kernels/internal/quantization_util.cc.
    """
    factor = tf.cast(factor, tf.float64)
    shift = tf.floor(tf.math.log(factor) / tf.math.log(tf.constant(2.0, tf.float64))) + 1.0
    fraction = factor / 2.0**shift
    shift, fraction = (  # the logarithm may miss a power of two by one
        shift + tf.cast(fraction >= 1.0, tf.float64) - tf.cast(fraction < 0.5, tf.float64),
        tf.where(fraction >= 1.0, fraction / 2.0, tf.where(fraction < 0.5, fraction * 2.0, fraction)),
    )
    whole = tf.floor(fraction * _ONE + 0.5)
    full = whole >= _ONE
    return tf.where(full, whole / 2.0, whole), tf.where(full, shift + 1.0, shift)


def rescaling_factor(x_scale: tf.Tensor, y_scale: tf.Tensor, output_scale: tf.Tensor) -> tf.Tensor:
    """`x_scale * y_scale / output_scale`, each result rounded to float32 as the runtime does it, in whatever order the
    graph optimizer puts the steps."""
    product = tf.cast(tf.cast(x_scale, tf.float64) * tf.cast(y_scale, tf.float64), tf.float32)
    return tf.cast(tf.cast(product, tf.float64) / tf.cast(output_scale, tf.float64), tf.float32)


def multiplier(x_scale: tf.Tensor, y_scale: tf.Tensor, output_scale: tf.Tensor) -> tf.Tensor:
    """`x_scale * y_scale / output_scale` in double precision, as LiteRT's own kernels of convolutions have it."""
    x_scale, y_scale, output_scale = (tf.cast(each, tf.float64) for each in (x_scale, y_scale, output_scale))
    return x_scale * y_scale / output_scale


def rescaled_twice_rounded(total: tf.Tensor, factor: tf.Tensor, away: bool = False) -> tf.Tensor:
    """`total * factor` in whole numbers, rounded after the multiplication and once more after the shift to the right.

    Kernels that XNNPACK does not take (weights of 4 bits among them) do this. With large factors, as coarse
    weights have them, the first rounding is coarse too: 19.48 becomes 39 halves and then 20. Source:
    MultiplyByQuantizedMultiplier, tflite/kernels/internal/common.h.

    Args:
        total: whole numbers, float32 [..., channels].
        factor: input scale times kernel scale over output scale, one number or one a channel.
        away: the second rounding puts halves away from zero, as gemmlowp's RoundingDivideByPOT does; else upwards.
    """
    return rescaled_by_factors(total, rounding_factors(factor), away)


def rounding_factors(factor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What stands before each of the two roundings of `rescaled_twice_rounded`, float64: a multiplier, a shift."""
    whole, shift = fixed_point(factor)
    return 2.0 ** tf.maximum(shift, 0.0) * (whole / _ONE), 2.0 ** tf.minimum(shift, 0.0)


def rescaled_by_factors(total: tf.Tensor, factors: tuple[tf.Tensor, tf.Tensor], away: bool = False) -> tf.Tensor:
    """`rescaled_twice_rounded` where the `rounding_factors` are known already: one pair for all steps of a loop."""
    multiplied, right = factors
    shifted = tf.floor(tf.cast(total, tf.float64) * multiplied + 0.5) * right
    rounded = tf.sign(shifted) * tf.floor(tf.abs(shifted) + 0.5) if away else tf.floor(shifted + 0.5)
    return tf.cast(rounded, total.dtype)


def as_written(values: tf.Tensor, low: tf.Tensor, high: tf.Tensor, zero_point: tf.Tensor) -> tf.Tensor:
    """Constants on the int8 grid of a range as the converter rounds them: in double precision, halves away from code 0.

    Source: UniformQuantizedValueConverter, MLIR's QuantOps.
    """
    low, high, zero_point = (tf.cast(each, tf.float64) for each in (low, high, zero_point))
    scale = (high - low) / 255.0
    codes = tf.cast(values, tf.float64) / scale + zero_point
    codes = tf.clip_by_value(tf.sign(codes) * tf.floor(tf.abs(codes) + 0.5), -128.0, 127.0)
    return tf.cast((codes - zero_point) * scale, values.dtype)


def rescaled_in_eights(total: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """`total * factor` as LiteRT's transposed convolution rounds it, which takes eight channels at once: halves upwards
    in whole eights of channels, and away from zero in those that are left. Arguments as `rescaled_twice_rounded`'s.
    """
    channels = int(total.shape[-1])
    eights = channels // 8 * 8
    if eights in (0, channels):
        return rescaled_twice_rounded(total, factor, away=eights == 0)
    both = rescaled_twice_rounded(total, factor), rescaled_twice_rounded(total, factor, away=True)
    return tf.where(tf.range(channels) < eights, *both)


def rescaled_by_256ths(codes: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """`codes * factor` in whole numbers, the factor cut to 1/256, halves upwards (from 1/256 to 128).

    Source: xnn_init_qs8_lrelu_scalar_params and xnn_init_qs8_cvt_scalar_params, XNNPACK src/microparams-init.c.
    """
    multiplier = tf.round(256.0 * factor)
    coarse = tf.floor(codes * multiplier / 256.0 + 0.5)
    taken = (tf.abs(factor) >= 1 / 256) & (tf.abs(factor) <= 128.0)
    return tf.where(taken, coarse, rescaled_twice_rounded(codes, tf.abs(factor)) * tf.sign(factor))


def summed_by_xnnpack(x: tf.Tensor, y: tf.Tensor, x_factor: tf.Tensor, y_factor: tf.Tensor) -> tf.Tensor:
    """`x * x_factor + y * y_factor` in whole numbers: both factors cut to 21 bits, halves rounded upwards.

    Source: xnn_init_qs8_add_minmax_scalar_params, XNNPACK src/microparams-init.c.

    Args:
        x, y: whole numbers, float32, of shapes that broadcast: codes less the zero point.
        x_factor, y_factor: scale of the operand over that of the output, scalars; negative to subtract.
    """
    factors = tf.cast(tf.stack([x_factor, y_factor]), tf.float64)
    largest = tf.reduce_max(tf.abs(factors))
    _, exponent = fixed_point(largest)
    shifted = 2.0 ** (21.0 - exponent)  # the larger factor has 21 bits
    multipliers = tf.round(factors * shifted)
    total = tf.cast(x, tf.float64) * multipliers[0] + tf.cast(y, tf.float64) * multipliers[1]
    return tf.cast(tf.floor(total / shifted + 0.5), x.dtype)
