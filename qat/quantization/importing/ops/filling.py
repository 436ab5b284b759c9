"""Ops that fill, cast, resize, pad and repeat."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from qat.quantization.importing.import_state import Import, Importer, kind, sizes
from qat.quantization.importing.ops.slicing import with_constants
from qat.quantization.importing.shape_values import Open
from qat.quantization.ir.graph import Tensor, Weight
from qat.quantization.ir.operations import PER_SAMPLE


def make_filled(value: float | None) -> Importer:
    """A block of one number; its batch size, where open, becomes 1 and broadcasts."""

    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        shape = sizes(op.outputs[0])
        number = float(np.asarray(state.value(op.inputs[1]))) if value is None else value
        if shape is None:
            return state.op(op, f"tf:{op.type} of unknown shape", [])
        block = state.plain(np.full([size or 1 for size in shape], number, op.outputs[0].dtype.as_numpy_dtype))
        node = state.graph.make_constant(block, state.name(op), state.layer(op))
        node.attrs["open_batch"] = None in shape
        return state.add(node)

    return read


def read_cast(state: Import, op: tf.Operation) -> list[Tensor]:
    """A Cast as one `cast` node.

    Args:
        state: the import so far; the node is appended to its graph.
        op: a Cast with one input, of any shape and dtype.

    Returns:
        One tensor of the input's shape. Its dtype is the op's, or float32 for a float of any width.
    """
    return state.op(op, "cast", [op.inputs[0]], dtype=kind(op.outputs[0].dtype))


def of_integers(word: str, *dtypes: str) -> Importer:
    """A reader of an op that TFLite computes in integers of these dtypes."""

    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        kept = word if op.outputs[0].dtype.name in dtypes else f"tf:{op.type}"
        return state.op(op, kept, list(op.inputs))

    return read


def resize(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        return state.op(
            op,
            word,
            [op.inputs[0]],
            size=list(sizes(op.outputs[0])[1:3]),
            align_corners=bool(op.get_attr("align_corners")),
            half_pixel_centers=bool(op.get_attr("half_pixel_centers")),
        )

    return read


def space_batch(word: str, amounts: str) -> Importer:
    """A reader of SpaceToBatchND or BatchToSpaceND, which TensorFlow puts around a dilated convolution.

    Args:
        word: name of the node's op, `space_to_batch` or `batch_to_space`.
        amounts: the name of the attribute for the op's third input, `paddings` or `crops`.

    Returns:
        A reader of an op with the inputs x, [n, size 1, ..., size m, ...], the block, [m] integers, and the amounts,
        [m, 2] integers in places before and after each axis. It gives one tensor of the op's shape and x's dtype,
        floats as float32. Where the block or the amounts are computed, it gives the output of a `tf:` node.
    """

    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        block, numbers = state.value(op.inputs[1]), state.value(op.inputs[2])
        if block is None or numbers is None:
            return state.op(op, f"tf:{op.type} with a computed operand", [op.inputs[0]])
        return state.op(op, word, [op.inputs[0]], block=block.tolist(), **{amounts: numbers.tolist()})

    return read


def block(word: str) -> Importer:
    return lambda state, op: state.op(op, word, [op.inputs[0]], block_size=int(op.get_attr("block_size")))


def read_pad(state: Import, op: tf.Operation) -> list[Tensor]:
    """A Pad or PadV2 as one `pad` node.

    Args:
        state: the import so far; the node is appended to its graph.
        op: an op with the inputs x, of any shape, and paddings, [rank, 2] integers, in places before and after each
            axis. A PadV2 has a third one, the scalar that fills them; a Pad fills with 0.

    Returns:
        One tensor of the op's shape and x's dtype, floats as float32. The node has `paddings` as a list and `value` as
        a float. Where one of the two is computed, the output of a `tf:` node.
    """
    paddings = state.value(op.inputs[1])
    value = 0.0 if op.type == "Pad" else state.value(op.inputs[2])
    if paddings is None or value is None:
        return state.op(op, f"tf:{op.type} with a computed operand", list(op.inputs))
    return state.op(op, "pad", [op.inputs[0]], paddings=paddings.tolist(), value=float(value))


def read_mirror_pad(state: Import, op: tf.Operation) -> list[Tensor]:
    """A MirrorPad as one `mirror_pad` node.

    Args:
        state: the import so far; the node is appended to its graph.
        op: a MirrorPad with the inputs x, of any shape, and paddings, [rank, 2] integers that must be constants, in
            places before and after each axis. Its mode is REFLECT or SYMMETRIC.

    Returns:
        One tensor of the op's shape and x's dtype, floats as float32.

    Raises:
        AttributeError: the paddings are computed; the importer makes a `tf:` node of the op then.
    """
    mode = op.get_attr("mode").decode()
    return state.op(op, "mirror_pad", [op.inputs[0]], paddings=state.value(op.inputs[1]).tolist(), mode=mode)


def axis_attr(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        rank = op.outputs[0].shape.rank if word == "pack" else op.inputs[0].shape.rank
        attrs = {"axis": int(op.get_attr("axis")) % rank}
        if word == "unpack":
            attrs["num"] = int(op.get_attr("num"))
        return state.op(op, word, list(op.inputs), **attrs)

    return read


def _over_batch(state: Import, op: tf.Operation) -> list[Tensor] | None:
    """A constant repeated over an open batch: it stays one, and is repeated where it is used."""
    held = state.tensor(op.inputs[0])
    amounts = state.known(op.inputs[1])
    if held.node.op not in ("const", "variable") or amounts is None:
        return None
    shape = (1,) * (len(amounts) - len(held.shape)) + held.shape  # BroadcastTo puts axes in front
    opened = [at for at, amount in enumerate(amounts) if isinstance(amount, Open)]
    if len(opened) != 1 or shape[opened[0]] != 1:
        return None
    rest = [1 if isinstance(amount, Open) else amount for amount in amounts]
    weight = held.node.weights["value"]
    if op.type == "Tile":
        repeated = Weight.compute("tile", weight, multiples=[int(amount) for amount in rest])
    else:
        repeated = weight.broadcast(*np.broadcast_shapes(weight.value.shape, tuple(rest)))
    if repeated.value.shape == held.shape:
        held.node.attrs["open_batch"] = True
        return [held]
    node = state.graph.make_fixed(repeated, state.name(op), state.layer(op))
    node.attrs["open_batch"] = True
    return state.add(node)


def read_tile(state: Import, op: tf.Operation) -> list[Tensor]:
    """A Tile as one `tile` node, or as a constant that is repeated now.

    Args:
        state: the import so far; the node is appended to its graph.
        op: a Tile with the inputs x, of any shape, and multiples, [rank] integers: how often x is repeated along each
            axis.

    Returns:
        One tensor of x's dtype, floats as float32. Where x does not depend on the model's input, and is repeated over
        an open batch along one axis of size 1, the tensor keeps the 1 there, and its node has the attribute
        `open_batch`. Where it is repeated so along another axis, or is computed, the output of a `PER_SAMPLE` node.
        Where the multiples are computed otherwise, the output of a `tf:Tile` node.
    """
    repeated, amounts = _over_batch(state, op), state.known(op.inputs[1])
    if not repeated and amounts is not None and any(isinstance(amount, Open) for amount in amounts):
        return state.op(op, PER_SAMPLE, [op.inputs[0]])
    return repeated or with_constants("tile", multiples=1)(state, op)


def read_broadcast_to(state: Import, op: tf.Operation) -> list[Tensor]:
    """A BroadcastTo: of an activation one `tile` node, which repeats it along the axes where it has one place.

    Args:
        state: the import so far; the nodes are appended to its graph.
        op: a BroadcastTo with the inputs x, of any shape, and the target shape, [rank] integers.

    Returns:
        One tensor of the op's shape and x's dtype, floats as float32; x's own where the shapes are equal. Where x does
        not depend on the model's input, it is the output of a `broadcast_to` node, or, over an open batch, of a
        constant as in `read_tile`. Where a shape or its rank is not known well enough, it is the output of a
        `tf:BroadcastTo` node.
    """
    repeated = _over_batch(state, op)
    if repeated:
        return repeated
    source, target = state.shape(op.inputs[0]), sizes(op.outputs[0])
    if source is not None and source == target:
        return [state.tensor(op.inputs[0])]
    if state.tensor(op.inputs[0]).node.op in ("const", "variable") and target is not None and None not in target:
        return state.op(op, "broadcast_to", [op.inputs[0]], shape=list(target))
    if source is None or target is None or len(source) != len(target) or source.count(None) != target.count(None):
        return state.op(op, "tf:BroadcastTo", [op.inputs[0]])
    multiples = [b if a == 1 and b is not None else 1 for a, b in zip(source, target, strict=True)]
    return state.op(op, "tile", [op.inputs[0]], multiples=multiples)
