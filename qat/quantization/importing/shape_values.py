"""Shape arithmetic while a trace is imported: what is known of an integer tensor when only the batch size is open."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Open:
    """The batch size, times an integer."""

    times: int = 1


Known = np.ndarray  # its elements are objects: integers, and `Open`
Shape = tuple[int | None, ...]


def known_of(
    op: tf.Operation, read: Callable[[tf.Tensor], Known | None], shape: Shape | None, times: int = 1
) -> Known | None:
    """What is known of an integer tensor that an op computes from shapes.

    Args:
        op: an op with at least one output; only those of shape arithmetic are followed, such as Shape, Pack,
            StridedSlice or Mul.
        read: function of an operand to what is known of it, None for nothing.
        shape: sizes of the op's first input, None for an open size; None where the rank is not known.
        times: how many times the batch size the open size is: 4 where each image was cut into 4 windows.

    Returns:
        An object array of the result's shape, a scalar or a vector. Each element is an integer, or an `Open` for an
        integer times the batch size. None where this cannot be told.
    """
    reader = _READERS.get(op.type)
    if reader is not None:
        return reader(op, read)
    if op.type in ("Shape", "Size") and shape is not None and shape.count(None) <= 1:
        sizes = np.array([Open(times) if size is None else size for size in shape], object)
        return sizes if op.type == "Shape" else _product(sizes)
    return None


def is_whole(known: Known) -> bool:
    """Whether nothing in it depends on the batch size."""
    return not any(isinstance(each, Open) for each in known.reshape(-1))


def reshaped(
    target: Known | None, static: Shape | None, source: Shape | None, times: int = 1
) -> list[int | Open] | None:
    """The sizes that a reshape makes, -1 where one must be worked out when it runs.

    Args:
        target: what is known of the operand that says the shape, an object array [rank]; None for nothing.
        static: the shape of the result as far as TensorFlow knows it, None for an open size.
        source: sizes of what is reshaped, None for an open size; None where its rank is not known.
        times: how many times the batch size the source's open size is.

    Returns:
        One size per axis of the result: an integer, -1, or an `Open` for an integer times the batch size. At most one
        is -1 or an `Open`. None where more are, or where neither `target` nor `static` is known.

    >>> reshaped(np.array([Open(), -1], object), None, (None, 3, 4))
    [Open(times=1), 12]
    >>> reshaped(None, (None, 12), (None, 3, 4)), reshaped(None, (None, None), (None, 3, 4))
    ([-1, 12], None)
    """
    if target is None and static is None:
        return None
    sizes: list[Any] = [-1] * (len(static) if target is None else len(target))
    for at in range(len(sizes)):
        if static is not None and static[at] is not None:
            sizes[at] = static[at]
        elif target is not None and target[at] != -1:
            sizes[at] = target[at]
    if sizes.count(-1) == 1 and any(isinstance(size, Open) for size in sizes):
        _work_out(sizes, source, times)
    return sizes if sum(size == -1 or isinstance(size, Open) for size in sizes) <= 1 else None


def _work_out(sizes: list[Any], source: Shape | None, times: int) -> None:
    """Put the number in place of the -1 next to an open batch."""
    if source is None or source[:1] != (None,) or None in source[1:]:
        return
    rest = [size.times if isinstance(size, Open) else size for size in sizes if size != -1]
    sizes[sizes.index(-1)] = int(times * np.prod(source[1:]) // max(np.prod(rest), 1))


def _product(known: Known) -> Known | None:
    opened = [each for each in known if isinstance(each, Open)]
    rest = int(np.prod([each for each in known if not isinstance(each, Open)], dtype=np.int64))
    if len(opened) > 1:
        return None
    return np.array(Open(rest * opened[0].times) if opened else rest, object)


def _same(op: tf.Operation, read: Callable) -> Known | None:
    return read(op.inputs[0])


def _flat(op: tf.Operation, read: Callable) -> Known | None:
    """Reshape, ExpandDims and Squeeze of a vector or a scalar, into the rank that comes out."""
    x, rank = read(op.inputs[0]), op.outputs[0].shape.rank
    if x is None or rank not in (0, 1):
        return None
    return x.reshape(-1) if rank else np.array(x.reshape(-1)[0], object)


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
    if x is None or x.ndim != 1 or not simple or any(b is None or b.shape != (1,) for b in bounds):
        return None
    if any(isinstance(bound[0], Open) for bound in bounds):
        return None
    begin, end, stride = (int(bound[0]) for bound in bounds)
    if op.get_attr("shrink_axis_mask"):
        return np.array(x[begin], object)
    return x[slice(None if op.get_attr("begin_mask") else begin, None if op.get_attr("end_mask") else end, stride)]


def _gather(op: tf.Operation, read: Callable) -> Known | None:
    x, indices = read(op.inputs[0]), read(op.inputs[1])
    if x is None or x.ndim != 1 or indices is None or not is_whole(indices):
        return None
    return np.array(x[indices.astype(int)], object)


def _prod(op: tf.Operation, read: Callable) -> Known | None:
    x = read(op.inputs[0])
    return None if x is None or x.ndim != 1 or op.outputs[0].shape.rank != 0 else _product(x)


def _by_place(of: Callable[..., Any]) -> Callable[[tf.Operation, Callable], Known | None]:
    """Arithmetic, place by place; `of` answers None where the result is no multiple of the batch size."""

    def known(op: tf.Operation, read: Callable) -> Known | None:
        parts = [read(tensor) for tensor in op.inputs]
        if any(part is None for part in parts):
            return None
        spread = np.broadcast_arrays(*parts)
        results = [of(*each) for each in zip(*(part.reshape(-1) for part in spread), strict=True)]
        return None if None in results else np.array([*results, None], object)[:-1].reshape(spread[0].shape)

    return known


def _times(a: int | Open, b: int | Open) -> int | Open | None:
    if isinstance(a, Open):
        return None if isinstance(b, Open) else Open(a.times * b)
    return Open(b.times * a) if isinstance(b, Open) else a * b


def _over(a: int | Open, b: int | Open) -> int | Open | None:
    if isinstance(b, Open):
        return a.times // b.times if isinstance(a, Open) and a.times % b.times == 0 else None
    if isinstance(a, Open):
        return Open(a.times // b) if a.times % b == 0 else None
    return a // b


def _larger(a: int | Open, b: int | Open) -> int | Open | None:
    """What two sizes broadcast to; an open one is larger than 1 or equal."""
    if isinstance(a, Open) or isinstance(b, Open):
        return a if b in (1, a) else b if a == 1 else None
    return max(a, b)


def _minus(a: int | Open, b: int | Open) -> int | Open | None:
    if isinstance(a, Open) or isinstance(b, Open):
        return 0 if a == b else a if b == 0 else None
    return a - b


def _whole(of: Callable) -> Callable[[Any, Any], Any]:
    return lambda a, b: None if isinstance(a, Open) or isinstance(b, Open) else of(a, b)


_READERS: dict[str, Callable[[tf.Operation, Callable], Any]] = {
    "Add": _by_place(_whole(operator.add)),
    "AddV2": _by_place(_whole(operator.add)),
    "Cast": _same,
    "ConcatV2": _concat,
    "ExpandDims": _flat,
    "FloorDiv": _by_place(_over),
    "GatherV2": _gather,
    "Identity": _same,
    "Maximum": _by_place(_larger),
    "Mul": _by_place(_times),
    "Pack": _pack,
    "Prod": _prod,
    "Reshape": _flat,
    "Select": _by_place(lambda condition, a, b: a if condition else b),
    "SelectV2": _by_place(lambda condition, a, b: a if condition else b),
    "Squeeze": _flat,
    "StridedSlice": _slice,
    "Sub": _by_place(_minus),
}
