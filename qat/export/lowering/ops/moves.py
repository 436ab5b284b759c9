"""Ops that move codes: their output is on the grid of their input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.lowering import Context
from qat.export.lowering.ops.linear import PADDING
from qat.export.lowering.planned_ops import OPERATOR, Number, Operand, Options, Value


def _move(
    context: Context, operator: int, *more: Operand, options: Options | None = None, sizes: Sequence[int] | None = None
) -> Value:
    result = context.result(like=context.x, sizes=sizes)
    context.lowering.add_op(operator, [context.x, *more], [result], options)
    return result


def reshape(context: Context) -> Value:
    shape, count = [int(size) for size in context.attrs["shape"]], int(np.prod(context.x.sizes))
    known = int(np.prod([size for size in shape if size >= 0]))
    sizes = [count // max(known, 1) if size < 0 else size for size in shape]
    new_shape = shape if context.lowering.is_open else sizes
    options = schema.ReshapeOptionsT(newShape=new_shape)
    return _move(context, OPERATOR.RESHAPE, context.constant("shape", new_shape), options=options, sizes=sizes)


def transpose(context: Context) -> Value:
    perm = [int(axis) for axis in context.attrs["perm"]]
    sizes = [context.x.sizes[axis] for axis in perm]
    options = schema.TransposeOptionsT()
    return _move(context, OPERATOR.TRANSPOSE, context.constant("perm", perm), options=options, sizes=sizes)


def tile(context: Context) -> Value:
    multiples = [int(count) for count in context.attrs["multiples"]]
    sizes = [size * count for size, count in zip(context.x.sizes, multiples, strict=True)]
    constant = context.constant("multiples", multiples)
    return _move(context, OPERATOR.TILE, constant, options=schema.TileOptionsT(), sizes=sizes)


def broadcast_to(context: Context) -> Value:
    shape = [int(size) for size in context.attrs["shape"]]
    constant = context.constant("shape", shape)
    return _move(context, OPERATOR.BROADCAST_TO, constant, options=schema.BroadcastToOptionsT(), sizes=shape)


def pad(context: Context) -> Value:
    value = float(context.attrs.get("value", 0.0))
    pads = [list(map(int, pair)) for pair in context.attrs["paddings"]]
    sizes = [size + sum(pair) for size, pair in zip(context.x.sizes, pads, strict=True)]
    constant = context.constant("paddings", pads)
    if value == 0.0:
        return _move(context, OPERATOR.PAD, constant, options=schema.PadOptionsT(), sizes=sizes)
    result = context.result(sizes=sizes) if context.x.grid is None else context.result(context.x, sizes=sizes)
    filling = Number(f"{context.name}/value", np.array([value], np.float32))
    context.lowering.add_op(
        OPERATOR.PADV2, [context.x, constant, filling], [result], schema.PadV2OptionsT(), one_grid=True
    )
    return result


def mirror_pad(context: Context) -> Value:
    kinds = {"REFLECT": schema.MirrorPadMode.REFLECT, "SYMMETRIC": schema.MirrorPadMode.SYMMETRIC}
    options = schema.MirrorPadOptionsT(mode=kinds[context.attrs["mode"].upper()])
    return _move(context, OPERATOR.MIRROR_PAD, context.constant("paddings", context.attrs["paddings"]), options=options)


def space_to_depth(context: Context) -> Value:
    options = schema.SpaceToDepthOptionsT(blockSize=int(context.attrs["block_size"]))
    return _move(context, OPERATOR.SPACE_TO_DEPTH, options=options)


def depth_to_space(context: Context) -> Value:
    options = schema.DepthToSpaceOptionsT(blockSize=int(context.attrs["block_size"]))
    return _move(context, OPERATOR.DEPTH_TO_SPACE, options=options)


def space_to_batch(context: Context) -> Value:
    block, pads = context.attrs["block"], context.attrs["paddings"]
    shape = context.call.keras_outputs[0].shape
    sizes = [context.x.sizes[0] * int(np.prod(block)), *map(int, shape[1:])]
    constant = context.constant("block", block), context.constant("paddings", pads)
    return _move(context, OPERATOR.SPACE_TO_BATCH_ND, *constant, options=schema.SpaceToBatchNDOptionsT(), sizes=sizes)


def batch_to_space(context: Context) -> Value:
    block, crops = context.attrs["block"], context.attrs["crops"]
    shape = context.call.keras_outputs[0].shape
    sizes = [context.x.sizes[0] // int(np.prod(block)), *map(int, shape[1:])]
    constant = context.constant("block", block), context.constant("crops", crops)
    return _move(context, OPERATOR.BATCH_TO_SPACE_ND, *constant, options=schema.BatchToSpaceNDOptionsT(), sizes=sizes)


def strided_slice(context: Context) -> Value:
    """A slice; new axes are made by a reshape, which every runtime has."""
    attrs, new = context.attrs, int(context.attrs.get("new_axis_mask", 0))
    if new:
        return _slice_with_new_axes(context, new)
    constant = [context.constant(name, attrs[name]) for name in ("begin", "end", "strides")]
    options = schema.StridedSliceOptionsT(beginMask=int(attrs["begin_mask"]), endMask=int(attrs["end_mask"]))
    options.shrinkAxisMask = int(attrs["shrink_axis_mask"])
    return _move(context, OPERATOR.STRIDED_SLICE, *constant, options=options)


def _slice_with_new_axes(context: Context, new: int) -> Value:
    attrs, kept_axes = context.attrs, [axis for axis in range(len(context.attrs["begin"])) if not new >> axis & 1]
    begin, end, strides = ([attrs[name][axis] for axis in kept_axes] for name in ("begin", "end", "strides"))

    def mask(name: str) -> int:
        return sum((int(attrs[name]) >> axis & 1) << index for index, axis in enumerate(kept_axes))

    begin_mask, end_mask, shrink_mask = (mask(name) for name in ("begin_mask", "end_mask", "shrink_axis_mask"))
    result, x = context.result(like=context.x), context.x
    every_axis = (1 << len(kept_axes)) - 1
    if (begin_mask, end_mask, shrink_mask) != (every_axis, every_axis, 0) or any(stride != 1 for stride in strides):
        sizes = _sliced_sizes(x, begin, end, strides, (begin_mask, end_mask))
        shape = [None if size is None and begin_mask >> axis & 1 else sizes[axis] for axis, size in enumerate(x.shape)]
        part = Value([context.lowering.unique(f"{context.name}/part")], shape, sizes, x.dtype, x)
        options = schema.StridedSliceOptionsT(beginMask=begin_mask, endMask=end_mask)
        named = zip(("begin", "end", "strides"), (begin, end, strides), strict=True)
        slices = [context.constant(name, values) for name, values in named]
        context.lowering.add_op(OPERATOR.STRIDED_SLICE, [x, *slices], [part], options)
        x = part
    open_sizes = [-1 if size is None else size for size in result.shape]
    new_shape = open_sizes if context.lowering.is_open and open_sizes.count(-1) < 2 else list(result.sizes)
    reshape_options = schema.ReshapeOptionsT(newShape=new_shape)
    context.lowering.add_op(OPERATOR.RESHAPE, [x, context.constant("shape", new_shape)], [result], reshape_options)
    return result


def _sliced_sizes(
    x: Value, begin: Sequence[int], end: Sequence[int], strides: Sequence[int], masks: tuple[int, int]
) -> list[int]:
    """Sizes of a slice before axes are removed."""
    sizes = list(x.sizes)
    for axis in range(len(begin)):
        first = None if masks[0] >> axis & 1 else int(begin[axis])
        last = None if masks[1] >> axis & 1 else int(end[axis])
        sizes[axis] = len(range(x.sizes[axis])[slice(first, last, int(strides[axis]))])
    return sizes


def reverse(context: Context) -> Value:
    axes = [int(axis) % context.x.rank for axis in np.atleast_1d(context.attrs["axis"])]
    return _move(context, OPERATOR.REVERSE_V2, context.constant("axis", axes), options=schema.ReverseV2OptionsT())


def gather(context: Context) -> Value:
    axis = int(context.attrs.get("axis", 0)) % context.x.rank
    result = context.result(like=context.x)
    options = schema.GatherOptionsT(axis=axis, batchDims=int(context.attrs.get("batch_dims", 0)))
    context.lowering.add_op(OPERATOR.GATHER, [context.x, context.operands[1]], [result], options)
    return result


def gather_constant(context: Context) -> Value:
    axis = int(context.attrs["axis"]) % context.x.rank
    constant = context.constant("indices", context.attrs["indices"])
    return _move(context, OPERATOR.GATHER, constant, options=schema.GatherOptionsT(axis=axis, batchDims=0))


def split(context: Context) -> list[Value]:
    sizes, axis = [int(size) for size in context.attrs["sizes"]], int(context.attrs["axis"]) % context.x.rank
    result = [context.result(like=context.x, index=index) for index in range(len(sizes))]
    along = context.constant("axis", axis)
    if len(set(sizes)) == 1 and context.x.dtype in ("float32", "int32"):  # more chips take it
        options = schema.SplitOptionsT(numSplits=len(sizes))
        context.lowering.add_op(OPERATOR.SPLIT, [along, context.x], result, options)
    else:
        operands = context.x, context.constant("sizes", sizes), along
        context.lowering.add_op(OPERATOR.SPLIT_V, operands, result, schema.SplitVOptionsT(numSplits=len(sizes)))
    return result


def unpack(context: Context) -> list[Value]:
    count, axis = int(context.attrs["num"]), int(context.attrs["axis"]) % context.x.rank
    result = [context.result(like=context.x, index=index) for index in range(count)]
    context.lowering.add_op(OPERATOR.UNPACK, [context.x], result, schema.UnpackOptionsT(num=count, axis=axis))
    return result


def _pool(context: Context, operator: int) -> Value:
    size, strides = (_height_and_width(context.attrs[name]) for name in ("ksize", "strides"))
    options = schema.Pool2DOptionsT(padding=PADDING[context.attrs["padding"]])
    options.filterHeight, options.filterWidth = size
    options.strideH, options.strideW = strides
    return _move(context, operator, options=options)


def _height_and_width(sizes: Sequence[int]) -> list[int]:
    """Height and width, of two sizes or of four, or of one for both."""
    if isinstance(sizes, int):
        return [sizes, sizes]
    return [int(size) for size in (sizes[1:3] if len(sizes) == 4 else sizes)]


def max_pool(context: Context) -> Value:
    return _pool(context, OPERATOR.MAX_POOL_2D)


def avg_pool(context: Context) -> Value:
    return _pool(context, OPERATOR.AVERAGE_POOL_2D)


def resize_bilinear(context: Context) -> Value:
    return _resize(context, OPERATOR.RESIZE_BILINEAR, schema.ResizeBilinearOptionsT())


def resize_nearest(context: Context) -> Value:
    return _resize(context, OPERATOR.RESIZE_NEAREST_NEIGHBOR, schema.ResizeNearestNeighborOptionsT())


def _resize(
    context: Context, operator: int, options: schema.ResizeBilinearOptionsT | schema.ResizeNearestNeighborOptionsT
) -> Value:
    options.alignCorners = bool(context.attrs.get("align_corners", False))
    options.halfPixelCenters = bool(context.attrs.get("half_pixel_centers", True))
    return _move(context, operator, context.constant("size", context.attrs["size"]), options=options)


MOVES: dict[str, Callable[[Context], Value | list[Value]]] = {
    "avg_pool": avg_pool,
    "batch_to_space": batch_to_space,
    "broadcast_to": broadcast_to,
    "depth_to_space": depth_to_space,
    "gather": gather,
    "gather_constant": gather_constant,
    "max_pool": max_pool,
    "mirror_pad": mirror_pad,
    "pad": pad,
    "reshape": reshape,
    "resize_bilinear": resize_bilinear,
    "resize_nearest": resize_nearest,
    "reverse": reverse,
    "space_to_batch": space_to_batch,
    "space_to_depth": space_to_depth,
    "split": split,
    "strided_slice": strided_slice,
    "tile": tile,
    "transpose": transpose,
    "unpack": unpack,
}
