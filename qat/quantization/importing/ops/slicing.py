"""Ops that cut, join and rearrange."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.importing.import_state import Import, Importer, kind, sizes
from qat.quantization.importing.shape_values import Open, reshaped
from qat.quantization.ir.graph import Node, Tensor, Weight


def read_reshape(state: Import, op: tf.Operation) -> list[Tensor]:
    source = state.shape(op.inputs[0])
    target = state.known(op.inputs[1]) if op.type == "Reshape" else None
    shape = reshaped(target, sizes(op.outputs[0]), source)
    if shape is None:
        return state.op(op, f"tf:{op.type} to an unknown shape", [op.inputs[0]])
    if state.tensor(op.inputs[0]).node.attrs.get("open_batch"):  # stands once for every sample
        return state.op(op, "reshape", [op.inputs[0]], shape=[1 if isinstance(s, Open) else s for s in shape])
    opened = any(size == -1 or isinstance(size, Open) for size in shape)
    if source is not None and None in source and not opened:
        return state.op(op, f"tf:{op.type} over a batch size said in numbers", [op.inputs[0]])
    outputs = state.op(op, "reshape", [op.inputs[0]], shape=[-1 if isinstance(s, Open) else s for s in shape])
    outputs[0].shape = tuple(None if size == -1 or isinstance(size, Open) else size for size in shape)
    return outputs


def with_constants(word: str, **names: int) -> Importer:
    """An op whose operands at the given places are constants that become attributes."""

    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        values = {name: state.value(op.inputs[at]) for name, at in names.items()}
        if any(value is None for value in values.values()):
            return state.op(op, f"tf:{op.type} with a computed operand", list(op.inputs))
        places = set(names.values())
        kept = [tensor for at, tensor in enumerate(op.inputs) if at not in places]
        return state.op(op, word, kept, **{name: value.tolist() for name, value in values.items()})

    return read


def read_split(state: Import, op: tf.Operation) -> list[Tensor]:
    axis_at, x_at = (0, 1) if op.type == "Split" else (2, 0)
    axis = int(state.value(op.inputs[axis_at]))
    splits = [int(tensor.shape[axis]) for tensor in op.outputs]
    return state.op(op, "split", [op.inputs[x_at]], sizes=splits, axis=axis % op.inputs[x_at].shape.rank)


def read_strided_slice(state: Import, op: tf.Operation) -> list[Tensor]:
    begin, end, strides = (state.value(tensor) for tensor in op.inputs[1:4])
    if begin is None or end is None or strides is None or op.get_attr("ellipsis_mask"):
        return _ellipsis_slice(state, op, begin, end, strides)
    attrs = {name: int(op.get_attr(name)) for name in ("begin_mask", "end_mask", "shrink_axis_mask", "new_axis_mask")}
    numbers = {"begin": begin.tolist(), "end": end.tolist(), "strides": strides.tolist()}
    return state.op(op, "strided_slice", [op.inputs[0]], **numbers, **attrs)


def _ellipsis_slice(state: Import, op: tf.Operation, begin: Any, end: Any, strides: Any) -> list[Tensor]:
    """Spell the ellipsis out: full slices where it stood."""
    if begin is None or end is None or strides is None:
        return state.op(op, "tf:StridedSlice with computed bounds", list(op.inputs))
    at = int(np.log2(op.get_attr("ellipsis_mask")))
    new_axes = bin(op.get_attr("new_axis_mask")).count("1")
    extra = op.inputs[0].shape.rank - (len(begin) - 1 - new_axes)
    attrs = {}
    for name in ("begin_mask", "end_mask", "shrink_axis_mask", "new_axis_mask"):
        mask = int(op.get_attr(name))
        low, high = mask & ((1 << at) - 1), mask >> (at + 1)
        middle = ((1 << extra) - 1) << at if name in ("begin_mask", "end_mask") else 0
        attrs[name] = low | middle | (high << (at + extra))
    for name, values, fill in (("begin", begin, 0), ("end", end, 0), ("strides", strides, 1)):
        attrs[name] = [*values[:at].tolist(), *[fill] * extra, *values[at + 1 :].tolist()]
    return state.op(op, "strided_slice", [op.inputs[0]], **attrs)


def read_slice(state: Import, op: tf.Operation) -> list[Tensor]:
    begin = state.value(op.inputs[1])
    shape = sizes(op.outputs[0])
    if begin is None or shape is None:
        return state.op(op, "tf:Slice with computed bounds", list(op.inputs))
    masks = sum(1 << axis for axis, size in enumerate(shape) if size is None)
    end = [0 if size is None else int(b) + size for b, size in zip(begin, shape, strict=True)]
    attrs = {"begin_mask": masks, "end_mask": masks, "shrink_axis_mask": 0, "new_axis_mask": 0}
    return state.op(op, "strided_slice", [op.inputs[0]], begin=begin.tolist(), end=end, strides=[1] * len(end), **attrs)


def read_concat(state: Import, op: tf.Operation) -> list[Tensor]:
    axis = int(state.value(op.inputs[-1])) % op.outputs[0].shape.rank
    return state.op(op, "concat", list(op.inputs[:-1]), axis=axis)


def read_gather(state: Import, op: tf.Operation) -> list[Tensor]:
    params, indices = op.inputs[0], op.inputs[1]
    axis = int(state.value(op.inputs[2])) if op.type == "GatherV2" else 0
    holder = state.tensor(params).node
    if op.type == "GatherV2" and int(op.get_attr("batch_dims")):
        return state.op(op, "tf:GatherV2 with batch dimensions", list(op.inputs))
    constant = state.value(indices)
    if constant is not None and holder.op not in ("const", "variable"):
        return state.op(op, "gather_constant", [params], indices=constant.tolist(), axis=axis)
    if holder.op in ("const", "variable"):
        return _read_lookup(state, op, holder.weights["value"], axis % holder.weights["value"].value.ndim)
    return state.op(op, "gather", [params, indices], axis=axis)


def _read_lookup(state: Import, op: tf.Operation, table: Weight, axis: int) -> list[Tensor]:
    """Slices of a table along `axis`: rows of the table with that axis in front, the axis brought back behind them."""
    if axis == 0:
        outputs = state.op(op, "embedding", [op.inputs[1]])
        outputs[0].node.weights["table"] = table
        return outputs
    others = [other for other in range(table.value.ndim) if other != axis]
    indices = state.tensor(op.inputs[1])
    rows = Node("embedding", state.graph.unique(f"{state.name(op)}/rows"), [indices], layer=state.layer(op))
    rows.weights["table"] = Weight.compute("transpose", table, perm=[axis, *others])
    shape = (*indices.shape, *(table.value.shape[other] for other in others))
    rows.outputs = [Tensor(rows, 0, shape, kind(op.outputs[0].dtype))]
    rank = len(indices.shape)
    order = [*range(rank, rank + axis), *range(rank), *range(rank + axis, len(shape))]
    return state.op_on(op, "transpose", state.add(rows), perm=order)
