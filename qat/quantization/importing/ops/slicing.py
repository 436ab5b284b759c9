"""Ops that cut, join and rearrange."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from qat.quantization.importing.import_state import Import, Importer, sizes
from qat.quantization.importing.shape_values import Open, is_whole, reshaped
from qat.quantization.ir.graph import Tensor


def read_reshape(state: Import, op: tf.Operation) -> list[Tensor]:
    """A Reshape, ExpandDims or Squeeze as one `reshape` node to sizes that are known, but for one that may be open.

    Args:
        state: the import so far; the node is appended to its graph.
        op: an op whose first input is x, of any shape. In a Reshape, the second one is the target shape, [rank]
            integers, which may be computed from the batch size. In the two others, the shape is that of the op's
            output.

    Returns:
        One tensor of the new shape, of x's dtype, floats as float32. The node's `shape` has -1 for the open size, or 1
        where x is a constant that stands once for all samples. Where more than one size is open, or a number is given
        for an open batch size, the output of a `tf:` node.
    """
    source = state.shape(op.inputs[0])
    target = state.known(op.inputs[1]) if op.type == "Reshape" else None
    static = sizes(op.outputs[0]) if op.type == "Reshape" or source is None else _with_or_without(state, op, source)
    holder = state.tensor(op.inputs[0]).node
    if holder.attrs.get("open_batch") and source is not None and source[:1] == (1,):
        shape = reshaped(target, static, (None, *source[1:]))
    else:
        shape = reshaped(target, static, source, state.times(op.inputs[0]))
    if shape is None:
        return state.op(op, f"tf:{op.type} to an unknown shape", [op.inputs[0]])
    if holder.attrs.get("open_batch"):  # stands once for every sample
        once = [1 if isinstance(size, Open) else size for size in shape]
        if once[:1] != [1] and holder.value.size != np.prod(once[1:] if once else 0) and not _are_places(op, once):
            word = f"tf:{op.type} across samples that are equal"
            return state.op(op, word, [op.inputs[0]], advice="keep the first axis for the samples alone")
        return state.op(op, "reshape", [op.inputs[0]], shape=once)
    opened = any(size == -1 or isinstance(size, Open) for size in shape)
    if source is not None and None in source and not opened:
        return state.op(op, f"tf:{op.type} over a batch size said in numbers", [op.inputs[0]])
    outputs = state.op(op, "reshape", [op.inputs[0]], shape=[-1 if isinstance(s, Open) else s for s in shape])
    outputs[0].shape = tuple(None if size == -1 or isinstance(size, Open) else size for size in shape)
    return outputs


def _are_places(op: tf.Operation, once: list[int]) -> bool:
    """Whether all that is read of a reshape are rows, which a gather takes one for each of its own rows."""
    return once[:1] == [-1] and all(reader.type == "GatherV2" for reader in op.outputs[0].consumers())


def _with_or_without(state: Import, op: tf.Operation, source: tuple[int | None, ...]) -> tuple[int | None, ...] | None:
    """The source's shape with the axis of an ExpandDims, or without those of a Squeeze."""
    if op.type == "ExpandDims":
        axis = int(state.value(op.inputs[1]))
        return tuple(np.insert(np.array(source, object), axis % (len(source) + 1), 1))
    axes = [axis % len(source) for axis in op.get_attr("squeeze_dims")]
    if not axes:
        return sizes(op.outputs[0])
    return tuple(size for axis, size in enumerate(source) if axis not in axes)


def with_constants(word: str, **names: int) -> Importer:
    """A reader of ops whose operands at the given places are constants that become attributes.

    Args:
        word: the op of the node that comes out.
        names: the attribute's name, and the index of the operand among the op's inputs.

    Returns:
        A reader. It gives the outputs of one node `word`, of the op's own shapes and dtypes, floats as float32, which
        reads the other operands in their order. Where one of the constants is computed, it gives those of a `tf:` node.
    """

    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        values = {name: state.value(op.inputs[at]) for name, at in names.items()}
        if any(value is None for value in values.values()):
            return state.op(op, f"tf:{op.type} with a computed operand", list(op.inputs))
        places = set(names.values())
        kept = [tensor for at, tensor in enumerate(op.inputs) if at not in places]
        return state.op(op, word, kept, **{name: value.tolist() for name, value in values.items()})

    return read


def read_split(state: Import, op: tf.Operation) -> list[Tensor]:
    """A Split or SplitV as one `split` node: pieces of x that lie one after the other along an axis.

    For a shape, which is known but for the batch size, pieces that are known are constants.

    Args:
        state: the import so far; the node is appended to its graph.
        op: a Split with the inputs axis and x, or a SplitV with the inputs x, sizes and axis. x has any known rank; the
            axis is a scalar integer that must be a constant; the sizes, [pieces] integers, are taken from the op's
            outputs.

    Returns:
        One tensor per piece, of x's dtype, floats as float32. The node's `sizes` are the pieces' lengths along the
        axis. For a piece of a shape that is known, a constant.

    Raises:
        TypeError: the axis is computed, or a piece has an open size along it; the importer makes a `tf:` node of the op
            then.
    """
    axis_at, x_at = (0, 1) if op.type == "Split" else (2, 0)
    axis = int(state.value(op.inputs[axis_at]))
    if op.type == "Split" and axis == 0 and op.outputs[0].shape[0] is None:
        return _split_batch(state, op, op.inputs[x_at])
    splits = [int(tensor.shape[axis]) for tensor in op.outputs]
    outputs = state.op(op, "split", [op.inputs[x_at]], sizes=splits, axis=axis % op.inputs[x_at].shape.rank)
    known = state.partly_known.get(op.inputs[x_at].ref())
    pieces = [] if known is None else np.split(known, np.cumsum(splits)[:-1])
    for at, piece in enumerate(pieces):
        state.partly_known[op.outputs[at].ref()] = piece
        if is_whole(piece):
            value = np.array(piece.tolist(), op.outputs[at].dtype.as_numpy_dtype)
            outputs[at] = state.add(state.graph.make_constant(value, state.name(op), state.layer(op)))[0]
    return outputs


def _split_batch(state: Import, op: tf.Operation, x: tf.Tensor) -> list[Tensor]:
    """As many equal pieces of the batch as a network has put one after another there, as heads of an attention."""
    count, inner_sizes = len(op.outputs), list(sizes(op.outputs[0]))[1:]
    held, options = state.tensor(x), {"dtype": state.tensor(x).dtype, "layer": state.layer(op)}
    attrs = {"shape": [count, -1, *inner_sizes]}
    shape = (count, None, *inner_sizes)
    node = state.graph.make("reshape", f"{state.name(op)}/reshape", [held], shape=shape, attrs=attrs, **options)
    state.count_batches(node)
    return state.op_on(op, "unpack", state.add(node), axis=0, num=count)


def read_strided_slice(state: Import, op: tf.Operation) -> list[Tensor]:
    """A StridedSlice as one `strided_slice` node with constant bounds (tf.raw_ops.StridedSlice).

    Args:
        state: the import so far; the node is appended to its graph.
        op: a StridedSlice with the inputs x, of any shape, and begin, end and strides, each [k] integers, one for each
            index that was written. An ellipsis is replaced by full slices, for which x's rank must be known.

    Returns:
        One tensor of the op's shape and x's dtype, floats as float32. The node keeps `begin`, `end` and `strides` as
        lists, and the masks for begin, end, removed and new axes as the op's bit sets. Where a bound is computed, the
        output of a `tf:StridedSlice` node.
    """
    begin, end, strides = (state.value(tensor) for tensor in op.inputs[1:4])
    opened = 0
    if end is None and not op.get_attr("shrink_axis_mask") and not op.get_attr("new_axis_mask"):
        end, opened = _end_of_batch(state, op)
    if begin is None or end is None or strides is None or op.get_attr("ellipsis_mask"):
        return _ellipsis_slice(state, op, begin, end, strides)
    attrs = {name: int(op.get_attr(name)) for name in ("begin_mask", "end_mask", "shrink_axis_mask", "new_axis_mask")}
    attrs["end_mask"] |= opened
    numbers = {"begin": begin.tolist(), "end": end.tolist(), "strides": strides.tolist()}
    return state.op(op, "strided_slice", [op.inputs[0]], **numbers, **attrs)


def _end_of_batch(state: Import, op: tf.Operation) -> tuple[np.ndarray | None, int]:
    """The ends of a slice that takes all samples, and the bit of their axis, as of tf.signal.frame; (None, 0) else."""
    known, batch = state.known(op.inputs[2]), Open(state.times(op.inputs[0]))
    if known is None or any(isinstance(each, Open) and each != batch for each in known):
        return None, 0
    opened = [at for at, each in enumerate(known) if isinstance(each, Open)]
    source = state.shape(op.inputs[0]) or ()
    if any(at >= len(source) or source[at] is not None for at in opened):
        return None, 0
    return np.array([0 if at in opened else int(each) for at, each in enumerate(known)]), sum(1 << at for at in opened)


def _ellipsis_slice(
    state: Import, op: tf.Operation, begin: np.ndarray | None, end: np.ndarray | None, strides: np.ndarray | None
) -> list[Tensor]:
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
    """A Slice as one `strided_slice` node with strides of 1 (tf.raw_ops.Slice).

    Args:
        state: the import so far; the node is appended to its graph.
        op: a Slice with the inputs x, of any shape, and begin and size, each [rank] integers. The sizes are taken from
            the op's output; an axis whose size is not known there is kept in full.

    Returns:
        One tensor of the op's shape and x's dtype, floats as float32. Where begin is computed, no rank is known, or
        an open axis does not begin at its first, the output of a `tf:Slice` node.
    """
    begin = state.value(op.inputs[1])
    shape = sizes(op.outputs[0])
    if begin is None or shape is None:
        return state.op(op, "tf:Slice with computed bounds", list(op.inputs))
    if any(size is None and int(first) for first, size in zip(begin, shape, strict=True)):
        return state.op(op, "tf:Slice that leaves out the first of an open axis", list(op.inputs))
    masks = sum(1 << axis for axis, size in enumerate(shape) if size is None)
    end = [0 if size is None else int(b) + size for b, size in zip(begin, shape, strict=True)]
    attrs = {"begin_mask": masks, "end_mask": masks, "shrink_axis_mask": 0, "new_axis_mask": 0}
    return state.op(op, "strided_slice", [op.inputs[0]], begin=begin.tolist(), end=end, strides=[1] * len(end), **attrs)


def read_concat(state: Import, op: tf.Operation) -> list[Tensor]:
    """A ConcatV2 as one `concat` node.

    Args:
        state: the import so far; the node is appended to its graph.
        op: a ConcatV2 with two inputs or more of equal rank, which differ in size along the axis at most, and as its
            last input the axis, a scalar integer that must be a constant.

    Returns:
        One tensor of the op's shape and dtype, floats as float32. The node's `axis` is not negative.

    Raises:
        TypeError: the axis is computed, or the rank is not known; the importer makes a `tf:` node of the op then.
    """
    axis = int(state.value(op.inputs[-1])) % op.outputs[0].shape.rank
    return state.op(op, "concat", list(op.inputs[:-1]), axis=axis)


def read_gather(state: Import, op: tf.Operation) -> list[Tensor]:
    """A GatherV2 or ResourceGather: slices of an array along an axis, by their indices (tf.raw_ops.GatherV2).

    Args:
        state: the import so far; the nodes are appended to its graph.
        op: a GatherV2 with the inputs params, of any shape, indices, of any shape and an integer dtype, and the axis, a
            constant scalar; or a ResourceGather with the inputs params, a variable's handle, and indices, along axis 0.

    Returns:
        One tensor: params' shape with the indices' shape in place of the axis, of params' dtype, floats as float32.
        Where the indices alone are constants, it comes from `gather_constant`; else from `gather`. With batch
        dimensions and constant indices, it comes from a `gather_constant` of places counted over all axes but the
        samples, where the indices are equal for every sample and the axis is the last one; else from a `tf:GatherV2`
        node.

    Raises:
        TypeError: the axis is computed; the importer makes a `tf:` node of the op then.
    """
    params, indices = op.inputs[0], op.inputs[1]
    axis = int(state.value(op.inputs[2])) if op.type == "GatherV2" else 0
    holder = state.tensor(params).node
    constant = state.value(indices)
    batch_dims = int(op.get_attr("batch_dims")) if op.type == "GatherV2" else 0
    if batch_dims and constant is not None:
        return _along_last_axis(state, op, constant)
    if constant is not None and holder.op not in ("const", "variable"):
        return state.op(op, "gather_constant", [params], indices=constant.tolist(), axis=axis)
    return state.op(op, "gather", [params, indices], axis=axis, batch_dims=batch_dims)


def read_gather_nd(state: Import, op: tf.Operation) -> list[Tensor]:
    """A GatherNd or ResourceGatherNd whose indices are numbers of rows, as a `gather` of these rows.

    Args:
        state: the import so far; the nodes are appended to its graph.
        op: the op, with the inputs params, of any shape, and indices, whose last axis holds the places of each index.

    Returns:
        One tensor: the indices' shape without its last axis, then that of a row. Where an index has several places, or
        the rows are computed, it comes from a `tf:GatherNd` node.
    """
    params, indices = (state.tensor(tensor) for tensor in op.inputs[:2])
    is_table = params.node.op in ("const", "variable")
    if not is_table or indices.shape is None or indices.shape[-1] != 1 or indices.shape.count(None) > 1:
        return state.op(op, "tf:GatherNd", list(op.inputs))
    attrs = {"shape": [-1 if size is None else size for size in indices.shape[:-1]]}
    options = {"shape": indices.shape[:-1], "dtype": indices.dtype, "layer": state.layer(op)}
    rows = state.graph.make("reshape", f"{state.name(op)}/rows", [indices], attrs=attrs, **options)
    return state.op_on(op, "gather", [params, *state.add(rows)], axis=0, batch_dims=0)


def _along_last_axis(state: Import, op: tf.Operation, indices: np.ndarray) -> list[Tensor]:
    """Along the last axis, at indices of their own for each place on the axes before.

    On the first axis, which counts samples, or rows of them, the indices hold the rows of one sample, or a part of them
    that comes again.
    """
    x, last, rows = state.tensor(op.inputs[0]), int(op.get_attr("batch_dims")), state.times(op.inputs[0])
    inner_sizes = x.shape[1:] if x.shape is not None else (None,)
    by_place = last == int(state.value(op.inputs[2])) == x.rank - 1
    if not by_place or rows % indices.shape[0] or x.shape[0] is not None or None in inner_sizes:
        return state.op(
            op,
            "tf:GatherV2 with batch dimensions, whose constant indices are not along the last axis",
            list(op.inputs),
        )
    indices = np.tile(indices, [rows // indices.shape[0], *[1] * (indices.ndim - 1)])
    before = (rows, *inner_sizes[:-1])
    places = np.arange(np.prod(before, dtype=int)).reshape(before)
    flat = indices + np.expand_dims(places, tuple(range(last, indices.ndim))) * inner_sizes[-1]
    size = int(np.prod((rows, *inner_sizes)))
    sample = _reshaped(state, op, x, (None, size))
    found = state.op_on(op, "gather_constant", [sample], indices=flat.tolist(), axis=1)[0]
    found.shape = (None, *flat.shape)
    return [_reshaped(state, op, found, (None, *indices.shape[1:]))]


def _reshaped(state: Import, op: tf.Operation, x: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """x in another shape, whose open size is the first."""
    attrs = {"shape": [-1, *shape[1:]]}
    name, layer = f"{state.name(op)}/reshape", state.layer(op)
    return state.add(state.graph.make("reshape", name, [x], shape=shape, dtype=x.dtype, attrs=attrs, layer=layer))[0]
