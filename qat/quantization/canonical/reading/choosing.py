"""Ops that choose, and those that rewrites write out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from qat.quantization.canonical.graph import Tensor
from qat.quantization.canonical.reading.state import Import, sizes


def read_argmax(state: Import, op: tf.Operation) -> list[Tensor]:
    return state.op(op, "argmax", [op.inputs[0]], axis=int(state.value(op.inputs[1])), dtype=op.outputs[0].dtype.name)


def read_one_hot(state: Import, op: tf.Operation) -> list[Tensor]:
    """Compared with 0, 1, 2, ..., and one of two numbers chosen: ids beyond the depth give a row without a hit."""
    values = [state.value(tensor) for tensor in op.inputs[1:]]
    if any(value is None for value in values):
        return state.op(op, "tf:OneHot with a computed operand", list(op.inputs))
    depth, on, off = int(values[0]), *values[1:]
    shape, rank = sizes(op.outputs[0]), op.outputs[0].shape.rank
    axis = int(op.get_attr("axis")) % rank
    name, layer, ids = state.name(op), state.layer(op), state.tensor(op.inputs[0])
    spread = [-1 if size is None else size for size in (*shape[:axis], 1, *shape[axis + 1 :])]
    steps = np.arange(depth, dtype=ids.dtype).reshape([-1 if at == axis else 1 for at in range(rank)])
    made = state.graph.make(
        "reshape",
        f"{name}/reshape",
        [ids],
        shape=tuple(None if s == -1 else s for s in spread),
        dtype=ids.dtype,
        attrs={"shape": spread},
        layer=layer,
    )
    wide = state.add(made)[0]
    constants = [
        state.add(state.graph.constant(v, f"{name}/{n}", layer))[0]
        for v, n in ((steps, "steps"), (on, "on"), (off, "off"))
    ]
    hit = state.add(
        state.graph.make("equal", f"{name}/equal", [wide, constants[0]], shape=shape, dtype="bool", layer=layer)
    )[0]
    return state.op_on(op, "select", [hit, *constants[1:]])


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
