"""What of a pruned or clustered kernel stays as it is in training: its zeros, or which of its entries are equal.

A variable with something kept is read through `Kept.of` wherever it is read, so that the gradient of a zero is zero,
and those of equal entries are one: the mean, which is the step of the float model brought back to where they are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.quantization.ir.weight_source import packed, unpacked


class Kept:
    """Zeros, groups of equal entries, or both.

    Args:
        zeros: which entries are zero, bool, of the variable's shape; None where none has to stay so.
        groups: to which group an entry belongs, whole numbers from 0, of the same shape; None where none are equal.
    """

    def __init__(self, zeros: NDArray[np.bool_] | None = None, groups: NDArray[np.integer] | None = None) -> None:
        self.zeros, self.groups = zeros, groups
        if groups is not None:
            _, self._first, self._sizes = np.unique(groups, return_index=True, return_counts=True)

    @classmethod
    def zeros_of(cls, value: NDArray) -> Kept:
        """The exact zeros of an array."""
        return cls(zeros=value == 0)

    @classmethod
    def groups_of(cls, value: NDArray) -> Kept:
        """The equal entries of an array with at most 65,536 distinct values; a value of exactly 0 stays 0."""
        values, groups = np.unique(value, return_inverse=True)
        kind = np.uint8 if len(values) <= 256 else np.uint16
        zeros = value == 0
        return cls(zeros if zeros.any() else None, groups.reshape(value.shape).astype(kind))

    @property
    def distinct(self) -> int | None:
        """How many values there are; None where that is left open."""
        return None if self.groups is None else len(self._first)

    def of(self, value: tf.Tensor) -> tf.Tensor:
        """The variable's value with zeros where they are kept, and the mean of each group in all of its places.

        Where it is so already, nothing changes, to the last bit.
        """
        if self.groups is not None:
            value = self._tied(value)
        return value if self.zeros is None else tf.where(self.zeros, tf.zeros([], value.dtype), value)

    def _tied(self, value: tf.Tensor) -> tf.Tensor:
        groups = tf.cast(tf.constant(self.groups.reshape(-1)), tf.int32)
        count, sizes = len(self._first), tf.constant(self._sizes, value.dtype)

        def means(flat: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(flat, groups, count) / sizes

        @tf.custom_gradient
        def tied(x: tf.Tensor) -> Any:
            flat = tf.reshape(x, [-1])
            first = tf.gather(flat, self._first)
            centres = first + means(flat - tf.gather(first, groups))  # equal entries have no rounding of a sum

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return tf.reshape(tf.gather(means(tf.reshape(upstream, [-1])), groups), x.shape)

            return tf.reshape(tf.gather(centres, groups), x.shape), gradient

        return tied(value)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a Keras config: a bit for each entry, or a byte, compressed."""
        held = self.zeros if self.groups is None else self.groups
        said: dict[str, Any] = {"sizes": list(held.shape)}
        if self.groups is None:
            return said | {"zeros": packed(np.packbits(self.zeros))}
        zero = None if self.zeros is None else int(self.groups[self.zeros][0])
        return said | {"groups": packed(self.groups), "zero_group": zero}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Kept:
        sizes = [int(size) for size in said["sizes"]]
        if "zeros" in said:
            bits = np.unpackbits(unpacked(said["zeros"]), count=int(np.prod(sizes)))
            return cls(zeros=bits.astype(bool).reshape(sizes))
        groups, zero = unpacked(said["groups"]), said["zero_group"]
        return cls(None if zero is None else groups == zero, groups)


class KeptVariable:
    """A variable as it is to be read; what assigns it assigns the variable."""

    def __init__(self, variable: Any, kept: Kept) -> None:
        self.variable, self.kept = variable, kept

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> tf.Tensor:
        value = self.kept.of(tf.convert_to_tensor(self.variable))
        return value if dtype is None else tf.cast(value, dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.variable, name)


class KeepingConstraint(tf_keras.constraints.Constraint):
    """After an optimizer's step, and after the variable's own constraint: what is kept is as it was.

    Gradients leave it alone already, but not every optimizer moves by the gradient alone (gradient centralization), and
    equal entries may drift apart by the last bit.
    """

    def __init__(self, kept: Kept, own: Any = None) -> None:
        self.kept, self.own = kept, own

    def __call__(self, value: Any) -> tf.Tensor:
        value = tf.convert_to_tensor(value if self.own is None else self.own(value))
        return self.kept.of(value)
