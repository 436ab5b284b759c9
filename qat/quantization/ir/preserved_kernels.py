"""What training preserves of a pruned or clustered kernel: its zeros, or which of its entries are equal.

A variable with preserved entries is read through `PreservedEntries.apply_to` everywhere: the gradient of a zero is 0,
and equal entries get one gradient: their mean, which is the step of the float model projected onto equal entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.models.keras_types import KerasVariable
from qat.quantization.ir.weight_source import pack_array, unpack_array

MOST_CLUSTERS = 256  # centroids that 8 bits can represent
SAMPLE = 4096  # entries that are looked at before all are


class PreservedEntries:
    """The zeros of a variable, its groups of equal entries, or both.

    Args:
        zeros: which entries stay zero, bool, of the variable's shape; None: none.
        groups: to which group an entry belongs, integers from 0, of the same shape; None: no groups.
    """

    def __init__(self, zeros: NDArray[np.bool_] | None = None, groups: NDArray[np.integer] | None = None) -> None:
        self.zeros, self.groups = zeros, groups
        if groups is not None:
            _, self._first, self._sizes = np.unique(groups, return_index=True, return_counts=True)

    @classmethod
    def zeros_of(cls, value: NDArray) -> PreservedEntries:
        """The exact zeros of an array."""
        return cls(zeros=value == 0)

    @classmethod
    def groups_of(cls, value: NDArray) -> PreservedEntries:
        """The equal entries of an array with at most 65,536 distinct values; a value of exactly 0 stays 0."""
        values, groups = np.unique(value, return_inverse=True)
        kind = np.uint8 if len(values) <= 256 else np.uint16
        zeros = value == 0
        return cls(zeros if zeros.any() else None, groups.reshape(value.shape).astype(kind))

    @property
    def distinct(self) -> int | None:
        """The number of distinct values; None without groups."""
        return None if self.groups is None else len(self._first)

    def apply_to(self, value: tf.Tensor) -> tf.Tensor:
        """The variable's value with its zeros, and with the mean of each group in all entries of the group.

        A value that has them already does not change, to the last bit.
        """
        if self.groups is not None:
            value = self._average_groups(value)
        return value if self.zeros is None else tf.where(self.zeros, tf.zeros([], value.dtype), value)

    def _average_groups(self, value: tf.Tensor) -> tf.Tensor:
        groups = tf.cast(tf.constant(self.groups.reshape(-1)), tf.int32)
        count, sizes = len(self._first), tf.constant(self._sizes, value.dtype)

        def means(flat: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(flat, groups, count) / sizes

        @tf.custom_gradient
        def average(x: tf.Tensor) -> Any:
            flat = tf.reshape(x, [-1])
            first = tf.gather(flat, self._first)
            centres = first + means(flat - tf.gather(first, groups))  # equal entries have no rounding of a sum

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                return tf.reshape(tf.gather(means(tf.reshape(upstream, [-1])), groups), x.shape)

            return tf.reshape(tf.gather(centres, groups), x.shape), gradient

        return average(value)

    def to_json(self) -> dict[str, Any]:
        """JSON values, for a Keras config: one bit per entry, or one byte, compressed."""
        entries = self.zeros if self.groups is None else self.groups
        data: dict[str, Any] = {"sizes": list(entries.shape)}
        if self.groups is None:
            return data | {"zeros": pack_array(np.packbits(self.zeros))}
        zero = None if self.zeros is None else int(self.groups[self.zeros][0])
        return data | {"groups": pack_array(self.groups), "zero_group": zero}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PreservedEntries:
        sizes = [int(size) for size in data["sizes"]]
        if "zeros" in data:
            bits = np.unpackbits(unpack_array(data["zeros"]), count=int(np.prod(sizes)))
            return cls(zeros=bits.astype(bool).reshape(sizes))
        groups, zero = unpack_array(data["groups"]), data["zero_group"]
        return cls(None if zero is None else groups == zero, groups)


class PreservedVariable:
    """Reads a variable with its preserved entries; assigning it assigns the variable."""

    def __init__(self, variable: KerasVariable, preserved: PreservedEntries) -> None:
        self.variable, self.preserved = variable, preserved

    def __tf_tensor__(self, dtype: tf.DType | None = None, name: str | None = None) -> tf.Tensor:
        value = self.preserved.apply_to(tf.convert_to_tensor(self.variable))
        return value if dtype is None else tf.cast(value, dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.variable, name)


class PreservingConstraint(tf_keras.constraints.Constraint):
    """Restores the preserved entries after an optimizer's step and the variable's own constraint.

    Gradients do not change them, but not every optimizer moves by the gradient alone (gradient centralization), and
    equal entries may drift apart by the last bit.
    """

    def __init__(self, preserved: PreservedEntries, own: Callable[[tf.Tensor], tf.Tensor] | None = None) -> None:
        self.preserved, self.own = preserved, own

    def __call__(self, value: tf.Variable | tf.Tensor) -> tf.Tensor:
        value = tf.convert_to_tensor(value if self.own is None else self.own(value))
        return self.preserved.apply_to(value)


def repeated_values(value: NDArray) -> NDArray | None:
    """The distinct values of a clustered kernel.

    Args:
        value: a kernel of any shape.

    Returns:
        The values, sorted, where some nonzero ones repeat and 8 bits can represent all; else None.
    """
    for part in (value.reshape(-1)[:SAMPLE], value):
        values = np.unique(part)
        if len(values) > MOST_CLUSTERS:
            return None
    return values if np.count_nonzero(values) < np.count_nonzero(value) else None
