"""Ops that choose, and those that rewrites write out."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from qat.quantization.importing.import_state import Import, kind, sizes
from qat.quantization.ir.graph import Tensor


def read_index_of_extreme(state: Import, op: tf.Operation) -> list[Tensor]:
    """An ArgMax or ArgMin as one `argmax` or `argmin` node (tf.raw_ops.ArgMax): the index of the largest or smallest
    number along an axis; of equal ones the first.

    Args:
        state: the import so far; the node is appended to its graph.
        op: an ArgMax or ArgMin with the inputs x, of any shape and a number dtype, and the axis, a scalar integer that
            must be a constant. The axis may be negative and is kept as it is.

    Returns:
        One tensor of x's shape without the axis, of the op's own dtype, int64 or int32.

    Raises:
        TypeError: the axis is computed; the importer makes a `tf:` node of the op then.
    """
    axis, dtype = int(state.value(op.inputs[1])), op.outputs[0].dtype.name
    return state.op(op, op.type.lower(), [op.inputs[0]], axis=axis, dtype=dtype)


def read_largest(state: Import, op: tf.Operation) -> list[Tensor]:
    """A TopKV2 as a `top_k` node, the largest numbers of each row, and a `top_k_index` node, their places in it.

    Both begin with the largest; of equal ones the first comes first (tf.raw_ops.TopKV2).

    Args:
        state: the import so far; the nodes are appended to its graph.
        op: a TopKV2 with the inputs x, [..., n] of a number dtype, and k, a scalar integer that must be a constant.

    Returns:
        Two tensors [..., k]: of x's dtype, floats as float32, and int32. Where k is computed or another type of places
        is asked for, those of a `tf:TopKV2` node.
    """
    k = state.value(op.inputs[1])
    if k is None or op.outputs[1].dtype != tf.int32:
        return state.op(op, "tf:TopKV2 with a computed k", list(op.inputs))
    x, shape = [state.tensor(op.inputs[0])], sizes(op.outputs[0])
    return [
        state.add(
            state.graph.make(
                word,
                state.name(op),
                x,
                shape=shape,
                dtype=kind(output.dtype),
                attrs={"k": int(k)},
                layer=state.layer(op),
            )
        )[0]
        for word, output in zip(("top_k", "top_k_index"), op.outputs, strict=True)
    ]


def read_one_hot(state: Import, op: tf.Operation) -> list[Tensor]:
    """A OneHot as `reshape`, `equal` and `select` nodes: ids compared with 0, 1, 2, ..., and one of two numbers chosen.

    The arithmetic is that of tf.raw_ops.OneHot: an id outside of [0, depth) gives a row without a hit.

    Args:
        state: the import so far; the nodes, three constants among them, are appended to its graph.
        op: a OneHot with the inputs ids, of any shape and an integer dtype, and three scalars: the depth, the number
            for a hit and the number for the other places.

    Returns:
        One tensor of the ids' shape with `depth` places on a new axis, of the dtype of the two numbers. Where a scalar
        is computed, the output of a `tf:OneHot` node.
    """
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
    """A DenseBincount of rows: how often each id stands in a row, or whether it does (CategoryEncoding).

    Hits as in `read_one_hot`, then a `sum` node over the ids, or a `reduce_max` node where the op's `binary_output` is
    set. With one id per row, a `reshape` node takes their place. The arithmetic is that of tf.raw_ops.DenseBincount.

    Args:
        state: the import so far; the nodes are appended to its graph.
        op: a DenseBincount with the inputs ids, [n, k] of an integer dtype, their number of bins, a scalar, and
            weights, [n, k], or with a size of 0 for none. Weights count in place of 1, except where the output is
            binary.

    Returns:
        One tensor [n, bins], n None for an open batch, of the op's dtype, floats as float32. Where the ids are no
        matrix, or k or the number of bins is not known, the output of a `tf:DenseBincount` node.
    """
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
    """An ExtractImagePatches as one `extract_patches` node, which a rewrite writes out later.

    Args:
        state: the import so far; the node is appended to its graph.
        op: an ExtractImagePatches with one input, images [n, height, width, channels]. Of its attributes `ksizes`,
            `strides` and `rates`, in pixels, the height and the width are kept, and `padding` by its word, SAME or
            VALID.

    Returns:
        One tensor [n, rows, columns, window height * window width * channels] of the images' dtype, floats as float32.
    """
    attrs = {name: list(op.get_attr(attr))[1:3] for name, attr in (("ksize", "ksizes"), ("strides", "strides"))}
    attrs |= {"rates": list(op.get_attr("rates"))[1:3], "padding": op.get_attr("padding").decode()}
    return state.op(op, "extract_patches", [op.inputs[0]], **attrs)


def read_local_response(state: Import, op: tf.Operation) -> list[Tensor]:
    """An LRN as one `local_response` node, which a rewrite writes out later.

    It is tf.raw_ops.LRN: x / (bias + alpha * s) ** beta, with s the sum of the squares of the channels at most `radius`
    away (Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012, section 3.3).

    Args:
        state: the import so far; the node is appended to its graph.
        op: an LRN with one input, x [n, height, width, channels] of real numbers.

    Returns:
        One tensor of x's shape, float32.
    """
    attrs = {name: float(op.get_attr(name)) for name in ("bias", "alpha", "beta")}
    return state.op(op, "local_response", [op.inputs[0]], radius=int(op.get_attr("depth_radius")), **attrs)


def read_running_sum(state: Import, op: tf.Operation) -> list[Tensor]:
    """A Cumsum as one `running_sum` node, a Cumprod as one `running_product` node (tf.raw_ops.Cumsum), which a rewrite
    writes out later.

    Args:
        state: the import so far; the node is appended to its graph.
        op: a Cumsum or Cumprod with the inputs x, of any known rank, and the axis, a scalar integer that must be a
            constant. Its attributes `exclusive`, whether a place leaves itself out, and `reverse`, whether it begins at
            the end, are kept.

    Returns:
        One tensor of x's shape and dtype, floats as float32.

    Raises:
        TypeError: the axis is computed, or the rank of x is not known; the importer makes a `tf:` node of the op then.
    """
    axis = int(state.value(op.inputs[1])) % op.inputs[0].shape.rank
    attrs = {name: bool(op.get_attr(name)) for name in ("exclusive", "reverse")}
    word = "running_sum" if op.type == "Cumsum" else "running_product"
    return state.op(op, word, [op.inputs[0]], axis=axis, **attrs)


def read_band_part(state: Import, op: tf.Operation) -> list[Tensor]:
    """A MatrixBandPart, as of a triangle, as a choice between its input and 0.

    Args:
        state: the import so far; nodes are appended to its graph.
        op: a MatrixBandPart with the inputs x, of rank 2 or more, whose last two sizes are known, and how many
            diagonals are kept below and above the main one, scalar integers; a negative one stands for all.

    Returns:
        One tensor of x's shape. Where a number is computed, the output of a `tf:MatrixBandPart` node.
    """
    below, above = (state.value(tensor) for tensor in op.inputs[1:])
    shape = op.inputs[0].shape[-2:]
    if below is None or above is None or None in shape or op.inputs[0].dtype != tf.float32:
        return state.op(op, "tf:MatrixBandPart", list(op.inputs))
    kept = tf.linalg.band_part(np.ones(shape, np.float32), int(below), int(above)).numpy() > 0
    nodes = [
        state.graph.make_constant(value, f"{state.name(op)}/{name}", state.layer(op))
        for name, value in (("kept", kept), ("zero", np.zeros((), np.float32)))
    ]
    (kept_tensor,), (zero,) = (state.add(node) for node in nodes)
    return state.op_on(op, "select", [kept_tensor, state.tensor(op.inputs[0]), zero])


def read_roll(state: Import, op: tf.Operation) -> list[Tensor]:
    """A Roll as one `roll` node (tf.raw_ops.Roll), which a rewrite writes out later.

    Args:
        state: the import so far; the node is appended to its graph.
        op: a Roll with the inputs x, of any known rank, the shift, in places, and the axis: both a scalar or both a
            vector of integers.

    Returns:
        One tensor of x's shape and dtype, floats as float32. The node's `shift` and `axis` are lists of equal length,
        no axis negative. Where one of them is computed, the output of a `tf:Roll` node.
    """
    shift, axis = state.value(op.inputs[1]), state.value(op.inputs[2])
    if shift is None or axis is None:
        return state.op(op, "tf:Roll with a computed operand", list(op.inputs))
    axes = [int(each) % op.inputs[0].shape.rank for each in np.atleast_1d(axis)]
    return state.op(op, "roll", [op.inputs[0]], shift=np.atleast_1d(shift).tolist(), axis=axes)
