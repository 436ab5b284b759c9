"""The functions in which the deployed kernels are written, once for both: of NumPy arrays in NumPy, of tensors in
TensorFlow.

Op by op and on small arrays, NumPy takes a tenth of the time of TensorFlow's eager ops. Both round alike: a sum,
product, quotient and square root of float32 or float64 to the nearest number, as IEEE 754 prescribes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Array: TypeAlias = "tf.Tensor | NDArray"
_KNOWN = (np.ndarray, np.generic, float, int)


def are_arrays(*values: Any) -> bool:
    """Whether none of these is a tensor or a variable."""
    return all(isinstance(value, _KNOWN) for value in values)


def as_arrays(value: object) -> Any:
    """A tensor with a value, or a list or tuple of such, as NumPy arrays; what is none stays."""
    if isinstance(value, (list, tuple)):
        return [as_arrays(each) for each in value]
    return value if isinstance(value, _KNOWN) or value is None else value.numpy()


def run(operation: Callable[..., Any], *operands: Array, **attrs: Any) -> Any:
    """What a TensorFlow operation gives of these operands: arrays of arrays, tensors of tensors.

    Args:
        operation: takes tensors, and `attrs` as they are.
        operands: all arrays, or tensors among them.
        attrs: the operation's options.

    Returns:
        One array or tensor, or several.
    """
    if not are_arrays(*operands):
        return operation(*(tf.constant(each) if isinstance(each, np.ndarray) else each for each in operands), **attrs)
    return as_arrays(operation(*(tf.constant(operand) for operand in operands), **attrs))


def _either(of_arrays: Callable[..., Any], of_tensors: Callable[..., Any]) -> Callable[..., Any]:
    def compute(*operands: Any, **options: Any) -> Any:
        return (of_arrays if are_arrays(*operands) else of_tensors)(*operands, **options)

    return compute


absolute = _either(np.abs, tf.abs)
ceil = _either(np.ceil, tf.math.ceil)
clip = _either(lambda x, low, high: np.minimum(np.maximum(x, low), high), tf.clip_by_value)
exp = _either(np.exp, tf.exp)
floor = _either(np.floor, tf.floor)
log = _either(np.log, tf.math.log)
matmul = _either(np.matmul, tf.matmul)
maximum = _either(np.maximum, tf.maximum)
minimum = _either(np.minimum, tf.minimum)
ones_like = _either(np.ones_like, tf.ones_like)
relu = _either(lambda x: np.maximum(x, 0), tf.nn.relu)
right_shift = _either(np.right_shift, tf.bitwise.right_shift)
rint = _either(np.rint, tf.round)
round_half_away = _either(
    lambda x: np.trunc(x + np.copysign(np.float32(0.5), x)), lambda x: tf.sign(x) * tf.floor(tf.abs(x) + 0.5)
)
rsqrt = _either(lambda x: 1 / np.sqrt(x), tf.math.rsqrt)
sign = _either(np.sign, tf.sign)
size = _either(np.size, tf.size)
sqrt = _either(np.sqrt, tf.sqrt)
where = _either(np.where, tf.where)


def cast(x: Array, dtype: str | np.dtype | tf.DType) -> Array:
    """As `tf.cast`.

    Args:
        x: array or tensor of any shape and dtype.
        dtype: the dtype to have, by name, as "float64".

    Returns:
        The same numbers in that dtype, of the shape of `x`.
    """
    return np.asarray(x).astype(dtype, copy=False)[()] if are_arrays(x) else tf.cast(x, dtype)


def cumulated(x: Array) -> Array:
    """Sums along the last axis, from its first value to each: one addition after another."""
    return np.cumsum(x, axis=-1, dtype=x.dtype) if are_arrays(x) else tf.cumsum(x, axis=-1)


def largest(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """The largest value.

    Args:
        x: array or tensor of any shape.
        axis: axis along which to look, from 0; None looks at all values.
        keepdims: whether to leave that axis in the shape, as 1.

    Returns:
        One value for each place of the other axes, of the dtype of `x`.
    """
    return np.max(x, axis=axis, keepdims=keepdims) if are_arrays(x) else tf.reduce_max(x, axis, keepdims)


def repeat(x: Array, times: int) -> Array:
    """Each value so many times in a row.

    Args:
        x: array or tensor [n].
        times: how often each value comes, 1 or more.

    Returns:
        [n * times], of the dtype of `x`.
    """
    return np.repeat(x, times) if are_arrays(x) else tf.repeat(x, times)


def reshape(x: Array, shape: Sequence[int]) -> Array:
    """The same values in another shape.

    Args:
        x: array or tensor of any shape.
        shape: sizes whose product is the number of values.

    Returns:
        The values in that shape, of the dtype of `x`.
    """
    return np.reshape(x, shape) if are_arrays(x) else tf.reshape(x, shape)


def split_last(x: Array, parts: int) -> Sequence[Array]:
    """So many equal parts of the last axis.

    Args:
        x: array or tensor [..., size].
        parts: number of parts, a divisor of `size`.

    Returns:
        The parts in order, [..., size / parts] each.
    """
    if not are_arrays(x):
        return tf.split(x, parts, axis=-1)
    size = x.shape[-1] // parts  # `np.split` takes three times as long
    return [x[..., at * size : (at + 1) * size] for at in range(parts)]


def stack(parts: Sequence[Array], axis: int = 0) -> Array:
    """Arrays of one shape one after another along a new axis.

    Args:
        parts: arrays or tensors of one shape and dtype.
        axis: place of the new axis in the result, from 0.

    Returns:
        One array or tensor with that axis more, of length len(parts).
    """
    return np.stack(parts, axis) if are_arrays(*parts) else tf.stack(parts, axis)


def take(x: Array, indices: Array, axis: int = 0) -> Array:
    """Entries along an axis.

    Args:
        x: array or tensor of any shape and dtype.
        indices: integers of any shape, from 0 to below the size of the axis.
        axis: axis of `x` to take from, from 0.

    Returns:
        `x` with the shape of the indices in place of the axis, of the dtype of `x`.
    """
    return np.take(x, indices, axis=axis) if are_arrays(x, indices) else tf.gather(x, indices, axis=axis)
