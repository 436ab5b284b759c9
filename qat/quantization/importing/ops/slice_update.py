"""A part of a tensor that is replaced by another tensor: `keras.ops.slice_update`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.importing.import_state import Import, shape_in_a_batch
from qat.quantization.ir.graph import Tensor


def read_slice_update(state: Import, op: tf.Operation) -> list[Tensor]:
    """An XlaDynamicUpdateSlice, which is `keras.ops.slice_update`: slices of x and the update, concatenated.

    Args:
        state: the import so far; the nodes are appended to its graph.
        op: an op with the inputs x, of any shape, the update, of x's rank, and the place where it starts, [rank]
            integers. As in XLA, the start is moved so far that the update lies inside of x.

    Returns:
        One tensor of x's shape and dtype, floats as float32. Where the start is computed or a size but the batch is not
        known, the output of a `tf:` node.
    """
    x, update, start = state.tensor(op.inputs[0]), state.tensor(op.inputs[1]), state.value(op.inputs[2])
    pairs = list(zip(shape_in_a_batch(x) or (), shape_in_a_batch(update) or (), strict=False))
    if start is None or not pairs or any(one != other and None in (one, other) for one, other in pairs):
        return state.op(op, "tf:XlaDynamicUpdateSlice over an open size, or at a computed place", [op.inputs[0]])
    opened = pairs[0][0] is None
    begin = [0 if size is None else int(np.clip(at, 0, size - n)) for at, (size, n) in zip(start, pairs, strict=True)]
    values = [state.value(tensor) for tensor in op.inputs[:2]]
    if all(value is not None for value in values):
        changed = values[0].copy()
        changed[tuple(slice(at, at + n) for at, n in zip(begin, update.shape, strict=True))] = values[1]
        node = state.graph.make_constant(changed, state.name(op), state.layer(op))
        node.attrs["open_batch"] = opened
        return state.add(node)
    return [_replaced(state, op, x, update, begin, 1 if opened else 0)]


def _replaced(state: Import, op: tf.Operation, x: Tensor, update: Tensor, begin: list[int], axis: int) -> Tensor:
    """x with the update in it; along the axes before this one, it is as long as the update."""
    while axis < x.rank and x.shape[axis] == update.shape[axis]:
        axis += 1
    if axis == x.rank:
        return update
    first, last = begin[axis], begin[axis] + update.shape[axis]
    inside = _slice(state, op, x, axis, first, last)
    parts = [_slice(state, op, x, axis, 0, first)] if first else []
    parts.append(_replaced(state, op, inside, update, begin, axis + 1))
    parts += [_slice(state, op, x, axis, last, x.shape[axis])] if last < x.shape[axis] else []
    shape = [
        sum(each) if at == axis else each[0] for at, each in enumerate(zip(*(p.shape for p in parts), strict=True))
    ]
    opened = any(part.shape[0] is None for part in parts)
    return _made(state, op, "concat", parts, (None, *shape[1:]) if opened else tuple(shape), axis=axis)


def _slice(state: Import, op: tf.Operation, x: Tensor, axis: int, first: int, last: int) -> Tensor:
    """Along one axis, from place `first` up to, but without, `last`."""
    begin, end = ([at if axis == each else 0 for each in range(x.rank)] for at in (first, last))
    rest = sum(1 << each for each in range(x.rank) if each != axis)
    shape = (*x.shape[:axis], last - first, *x.shape[axis + 1 :])
    masks = {"begin_mask": rest, "end_mask": rest, "shrink_axis_mask": 0, "new_axis_mask": 0}
    return _made(state, op, "strided_slice", [x], shape, begin=begin, end=end, strides=[1] * x.rank, **masks)


def _made(state: Import, op: tf.Operation, word: str, inputs: list[Tensor], shape: tuple, **attrs: Any) -> Tensor:
    name, layer = f"{state.name(op)}/{word}", state.layer(op)
    return state.add(
        state.graph.make(word, name, inputs, shape=shape, dtype=inputs[0].dtype, attrs=attrs, layer=layer)
    )[0]
