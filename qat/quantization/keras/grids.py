"""Real numbers on the grids of TFLite's kernels, with gradients: a grid's step, its zero point, rounding to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.codes import scale_of_range, zero_point_of_range
from qat.quantization.keras.arithmetic import in_integers, with_gradients
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array

SMALLEST_SCALE = 2.0**-120  # for a kernel's, also times that of its input: normal float32
HALF_OF_INT32 = 2.0**30  # codes: half of what an int32 holds, the other half is for the sum of products


def scale_of(low: tf.Tensor | float, high: tf.Tensor, steps: int) -> tf.Tensor:
    """The scale, `(high - low) / steps`, to the last bit of float32.

    It is computed in float64. In float32 alone, TensorFlow's graph optimizer makes a product with 1 / steps of it, and
    one output code in a million differs.

    Source: scale of TensorFlow Lite's 8-bit quantization specification, `qat.codes.scale_of_range`.

    Args:
        low: the real number that the lowest code stands for, a scalar or [channels].
        high: the real number that the highest code stands for, a scalar or [channels].
        steps: number of codes less one, as 255 for 8 bits.

    Returns:
        float32, a scalar or [channels], as the ends are.
    """
    scale = scale_of_range(arrays.cast(low, "float64"), arrays.cast(high, "float64"), steps)
    return arrays.cast(scale, "float32")


def zero_point_of(low: tf.Tensor, scale: tf.Tensor, bits: int) -> tf.Tensor:
    """The code of 0 on a grid that begins at `low`, rounded and limited to a code.

    Source: `Nudge`, tensorflow/core/kernels/fake_quant_ops_functor.h, here with signed codes; halves go to even.

    Args:
        low: the real number that the lowest code stands for, at most 0, of any shape.
        scale: of the grid, float32, a scalar or shaped as `low`.
        bits: bits of a code; the lowest is -2^(bits - 1).

    Returns:
        float32 that holds integers, shaped as `low`.
    """
    lowest = -float(2 ** (bits - 1))
    zero_point = zero_point_of_range(arrays.cast(low, "float32"), scale, lowest)
    return arrays.clip(arrays.rint(zero_point), lowest, -lowest - 1)


def fake_quant(x: tf.Tensor, low: Array | float, high: Array | float, bits: int = 8, narrow: bool = False) -> tf.Tensor:
    """The values on the grid of a range, in their own dtype; the op itself computes in float32.

    Source: FakeQuantWithMinMaxVarsFunctor, tensorflow/core/kernels/fake_quant_ops_functor.h; with that op's gradient.

    Args:
        x: real numbers, a floating dtype, any shape; float32 where all three are arrays, which have no gradient.
        low: lower end of the range, a scalar, at most 0.
        high: upper end, a scalar, above `low`.
        bits: bits of a code; codes begin at 0.
        narrow: whether codes begin at 1, as those of a symmetric kernel.

    Returns:
        Real numbers on the grid, of the shape and dtype of `x`; an array where all three are arrays.
    """
    if arrays.are_arrays(x, low, high):
        return fake_quant_in_numpy(x, low, high, bits, narrow)
    if in_integers() and not with_gradients():
        return fake_quant_alone(x, low, high, bits, narrow)
    operands = (tf.cast(each, tf.float32) for each in (x, low, high))
    return tf.cast(_fake_quant_op(bits, narrow)(*operands), x.dtype)


def fake_quant_alone(x: tf.Tensor, low: Array | float, high: Array | float, bits: int, narrow: bool = False) -> Any:
    """`fake_quant` of tensors by TensorFlow's op as it is, a fifth of the ops: for where no gradient goes through, or
    none of a gradient."""
    operands = (tf.cast(each, tf.float32) for each in (x, low, high))
    result = tf.quantization.fake_quant_with_min_max_vars(*operands, num_bits=bits, narrow_range=narrow)
    return tf.cast(result, x.dtype)


@lru_cache
def _fake_quant_op(bits: int, narrow: bool) -> Callable:
    """The FakeQuant op, whose gradient has a gradient: TensorFlow states none, and a tape takes what has none for a
    constant, so that a penalty on a gradient would lose all that lies after it."""
    options = {"num_bits": bits, "narrow_range": narrow}

    @tf.custom_gradient
    def backwards(upstream: tf.Tensor, x: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> Any:
        def gradient(to_x: tf.Tensor, to_low: tf.Tensor, to_high: tf.Tensor) -> list:
            inside = tf.quantization.fake_quant_with_min_max_vars_gradient(to_x, x, low, high, **options)[0]
            return [tf.where(x < low, to_low, tf.where(x > high, to_high, inside)), None, None, None]

        return list(tf.quantization.fake_quant_with_min_max_vars_gradient(upstream, x, low, high, **options)), gradient

    @tf.custom_gradient
    def run(x: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> Any:
        result = tf.quantization.fake_quant_with_min_max_vars(x, low, high, **options)
        return result, lambda upstream: backwards(upstream, x, low, high)

    return run


def fake_quant_in_numpy(
    x: NDArray, low: Array | float, high: Array | float, bits: int = 8, narrow: bool = False
) -> NDArray:
    """What the FakeQuant op gives, step by step in its float32.

    Source: FakeQuantWithMinMaxVarsFunctor and Nudge, tensorflow/core/kernels/fake_quant_ops_functor.h.

    Args:
        x: real numbers, float32 of any shape.
        low: lower end of the range, a number or scalar, at most 0.
        high: upper end of the range, above `low`.
        bits: bits of a code; codes begin at 0.
        narrow: whether codes begin at 1, as those of a symmetric kernel.

    Returns:
        Real numbers on the grid, float32 of the shape of `x`.
    """
    low, high, first, last = (np.float32(each) for each in (low, high, int(narrow), 2**bits - 1))
    scale = (high - low) / (last - first)
    zero_point = np.float32(np.clip(np.floor(np.float64(first - low / scale) + 0.5), first, last))
    least, most = (first - zero_point) * scale, (last - zero_point) * scale
    zero = np.floor(-least * ((last - first) / (high - low)) + np.float32(0.5))
    codes = np.clip(x, least, most)
    codes -= least
    codes /= scale
    codes -= zero
    codes += np.float32(0.5)
    codes = np.floor(codes, out=codes)
    codes *= scale
    return codes


def least_of(x: tf.Tensor) -> tf.Tensor:
    """The smallest number: a scalar; a scalar is its own, without the five ops that TensorFlow makes for it."""
    return x if x.shape.rank == 0 else tf.reduce_min(x)


def largest_of(x: tf.Tensor) -> tf.Tensor:
    """The largest number, as `least_of` gives the smallest."""
    return x if x.shape.rank == 0 else tf.reduce_max(x)


def straight_through(x: Array, rounded: Array) -> Any:
    """`rounded`, to the last bit; backwards as if it were `x`.

    Source: the straight-through estimator, Bengio et al. 2013.

    Args:
        x: what was rounded, real numbers of any shape; all of the gradient goes to it.
        rounded: the same numbers on a grid, of the shape of `x`; no gradient goes to it.

    Returns:
        Shape and dtype of `rounded`; an array where both are arrays.
    """
    return rounded if arrays.are_arrays(x, rounded) else _straight_through(x, rounded)


@tf.custom_gradient
def _straight_through(x: tf.Tensor, rounded: tf.Tensor) -> Any:
    return tf.identity(rounded), lambda upstream: (upstream, None)


def min_scale(bias: tf.Tensor | None, source: tf.Tensor) -> tf.Tensor:
    """The smallest scale of a kernel with which its bias is an int32 of the file's; no gradient.

    The file holds a bias in steps of the input's scale times the kernel's. With a kernel of zeros or of very small
    weights, that is too little for any bias.

    Args:
        bias: real numbers, [channels]; None where there is none.
        source: scale of the input, a scalar above 0.

    Returns:
        float32 [channels], or a scalar where there is no bias.
    """
    source = tf.cast(source, tf.float32)
    least = tf.maximum(SMALLEST_SCALE / source, SMALLEST_SCALE)
    if bias is None:
        return least
    return tf.maximum(tf.abs(tf.cast(tf.stop_gradient(bias), tf.float32)) / HALF_OF_INT32 / source, least)
