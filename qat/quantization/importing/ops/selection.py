"""Ops that choose, and those that rewrites write out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from qat.quantization.importing.import_state import Import, kind, sizes
from qat.quantization.ir.graph import Tensor


def read_argmax(state: Import, op: tf.Operation) -> list[Tensor]:
    return state.op(op, "argmax", [op.inputs[0]], axis=int(state.value(op.inputs[1])), dtype=op.outputs[0].dtype.name)


def read_one_hot(state: Import, op: tf.Operation) -> list[Tensor]:
    """Compared with 0, 1, 2, ..., and one of two numbers chosen: ids beyond the depth give a row without a hit."""
    values = [state.value(tensor) for tensor in op.inputs[1:]]
    if any(value is None for value in values):
        return state.op(op, "tf:OneHot with a computed operand", list(op.inputs))
    depth, on, off = int(values[0]), *values[1:]
    axis = int(op.get_attr("axis")) % op.outputs[0].shape.rank
    hit = _hit(state, op, state.tensor(op.inputs[0]), sizes(op.outputs[0]), axis, depth)
    return state.op_on(op, "select", [hit, _constant(state, op, on, "on"), _constant(state, op, off, "off")])


def _hit(state: Import, op: tf.Operation, ids: Tensor, shape: tuple, axis: int, depth: int) -> Tensor:
    """Whether each id is 0, 1, 2, ... along a new axis of `depth` places; `shape` is that of the result."""
    name, rank = f"{state.name(op)}/equal", len(shape)
    wide = _with_axis(state, op, ids, shape, axis)
    steps = np.arange(depth, dtype=ids.dtype).reshape([-1 if at == axis else 1 for at in range(rank)])
    compared = [wide, _constant(state, op, steps, "steps")]
    return state.add(state.graph.make("equal", name, compared, shape=shape, dtype="bool", layer=state.layer(op)))[0]


def _with_axis(state: Import, op: tf.Operation, x: Tensor, shape: tuple, axis: int) -> Tensor:
    """x with one place on a new axis, where `shape` will have more."""
    spread = [-1 if size is None else size for size in (*shape[:axis], 1, *shape[axis + 1 :])]
    shape, attrs = tuple(None if size == -1 else size for size in spread), {"shape": spread}
    name = f"{state.name(op)}/reshape"
    made = state.graph.make("reshape", name, [x], shape=shape, dtype=x.dtype, attrs=attrs, layer=state.layer(op))
    return state.add(made)[0]


def _constant(state: Import, op: tf.Operation, value: np.ndarray, word: str) -> Tensor:
    return state.add(state.graph.make_constant(value, f"{state.name(op)}/{word}", state.layer(op)))[0]


def read_bincount(state: Import, op: tf.Operation) -> list[Tensor]:
    """How often each id stands in a row, or whether it does: hits, added up or joined (CategoryEncoding)."""
    ids, (rows, depth) = (
        state.tensor(op.inputs[0]),
        sizes(op.outputs[0])[-2:] if op.outputs[0].shape.rank == 2 else (0, 0),
    )
    if ids.rank != 2 or not depth or not ids.shape[1]:
        return state.op(op, "tf:DenseBincount over the samples, or of an open size", [op.inputs[0]])
    shape, binary = (rows, ids.shape[1], depth), bool(op.get_attr("binary_output"))
    hit, number = _hit(state, op, ids, shape, 2, depth), op.outputs[0].dtype.as_numpy_dtype
    on, off = (_constant(state, op, np.array(each, number), word) for each, word in ((1, "on"), (0, "off")))
    weights = state.tensor(op.inputs[2])
    if not binary and 0 not in weights.shape:
        on = _with_axis(state, op, weights, shape, 2)
    name, layer = f"{state.name(op)}/select", state.layer(op)
    chosen = state.graph.make("select", name, [hit, on, off], shape=shape, dtype=kind(op.outputs[0].dtype), layer=layer)
    placed = state.add(chosen)
    if shape[1] == 1:
        return state.op_on(op, "reshape", placed, shape=[-1, depth])
    return state.op_on(op, "reduce_max" if binary else "sum", placed, axis=[1], keepdims=False)


def read_patches(state: Import, op: tf.Operation) -> list[Tensor]:
    attrs = {name: list(op.get_attr(attr))[1:3] for name, attr in (("ksize", "ksizes"), ("strides", "strides"))}
    attrs |= {"rates": list(op.get_attr("rates"))[1:3], "padding": op.get_attr("padding").decode()}
    return state.op(op, "extract_patches", [op.inputs[0]], **attrs)


def read_local_response(state: Import, op: tf.Operation) -> list[Tensor]:
    attrs = {name: float(op.get_attr(name)) for name in ("bias", "alpha", "beta")}
    return state.op(op, "local_response", [op.inputs[0]], radius=int(op.get_attr("depth_radius")), **attrs)


def read_running_sum(state: Import, op: tf.Operation) -> list[Tensor]:
    axis = int(state.value(op.inputs[1])) % op.inputs[0].shape.rank
    attrs = {name: bool(op.get_attr(name)) for name in ("exclusive", "reverse")}
    return state.op(op, "running_sum", [op.inputs[0]], axis=axis, **attrs)


def read_roll(state: Import, op: tf.Operation) -> list[Tensor]:
    shift, axis = state.value(op.inputs[1]), state.value(op.inputs[2])
    if shift is None or axis is None:
        return state.op(op, "tf:Roll with a computed operand", list(op.inputs))
    axes = [int(each) % op.inputs[0].shape.rank for each in np.atleast_1d(axis)]
    return state.op(op, "roll", [op.inputs[0]], shift=np.atleast_1d(shift).tolist(), axis=axes)
