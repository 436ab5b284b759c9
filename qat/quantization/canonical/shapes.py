"""Shape arithmetic while a trace is imported: what is known of an integer tensor when only the batch size is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

Known = np.ndarray  # of objects: whole numbers, and None where the batch size stands


def known_of(op: tf.Operation, read: Callable[[tf.Tensor], Known | None]) -> Known | None:
    """What is known of an op's result; `read` tells what is known of its operands."""
    reader = _READERS.get(op.type)
    return None if reader is None else reader(op, read)


def _shape(op: tf.Operation, read: Callable) -> Known | None:
    rank = op.inputs[0].shape.rank
    return None if rank is None else np.array([*op.inputs[0].shape.as_list()], object)


def _same(op: tf.Operation, read: Callable) -> Known | None:
    return read(op.inputs[0])


def _pack(op: tf.Operation, read: Callable) -> Known | None:
    parts = [read(tensor) for tensor in op.inputs]
    if any(part is None or part.ndim for part in parts):
        return None
    return np.array([part.item() for part in parts], object)


def _concat(op: tf.Operation, read: Callable) -> Known | None:
    parts = [read(tensor) for tensor in op.inputs[:-1]]
    if any(part is None or part.ndim != 1 for part in parts):
        return None
    return np.concatenate(parts)


def _slice(op: tf.Operation, read: Callable) -> Known | None:
    x, *bounds = (read(tensor) for tensor in op.inputs)
    simple = not any(op.get_attr(mask) for mask in ("ellipsis_mask", "new_axis_mask"))
    if x is None or x.ndim != 1 or not simple or any(b is None or b.shape != (1,) or b[0] is None for b in bounds):
        return None
    begin, end, stride = (int(bound[0]) for bound in bounds)
    if op.get_attr("shrink_axis_mask"):
        return np.array(x[begin], object)
    return x[slice(None if op.get_attr("begin_mask") else begin, None if op.get_attr("end_mask") else end, stride)]


def _gather(op: tf.Operation, read: Callable) -> Known | None:
    x, indices = read(op.inputs[0]), read(op.inputs[1])
    if x is None or x.ndim != 1 or indices is None or None in indices.reshape(-1).tolist():
        return None
    return np.array(x[indices.astype(int)], object)


_READERS: dict[str, Callable[[tf.Operation, Callable], Any]] = {
    "Cast": _same,
    "ConcatV2": _concat,
    "GatherV2": _gather,
    "Identity": _same,
    "Pack": _pack,
    "Shape": _shape,
    "StridedSlice": _slice,
}
