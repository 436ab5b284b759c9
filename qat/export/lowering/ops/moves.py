"""Ops that pass codes on: what they give is on the grid of what they read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.lowering import Context
from qat.export.lowering.ops.linear import PADDING
from qat.export.lowering.planned_ops import OPERATOR, Number, Operand, Value


def _moved(
    context: Context, operator: int, *more: Operand, options: Any = None, sizes: Sequence[int] | None = None
) -> Value:
    made = context.result(like=context.x, sizes=sizes)
    context.lowering.step(operator, [context.x, *more], [made], options)
    return made


def reshape(context: Context) -> Value:
    wanted, count = [int(size) for size in context.attrs["shape"]], int(np.prod(context.x.sizes))
    known = int(np.prod([size for size in wanted if size >= 0]))
    sizes = [count // max(known, 1) if size < 0 else size for size in wanted]
    told = wanted if context.lowering.is_open else sizes
    options = schema.ReshapeOptionsT(newShape=told)
    return _moved(context, OPERATOR.RESHAPE, context.constant("shape", told), options=options, sizes=sizes)


def transpose(context: Context) -> Value:
    perm = [int(axis) for axis in context.attrs["perm"]]
    sizes = [context.x.sizes[axis] for axis in perm]
    options = schema.TransposeOptionsT()
    return _moved(context, OPERATOR.TRANSPOSE, context.constant("perm", perm), options=options, sizes=sizes)


def tile(context: Context) -> Value:
    multiples = [int(count) for count in context.attrs["multiples"]]
    sizes = [size * count for size, count in zip(context.x.sizes, multiples, strict=True)]
    told = context.constant("multiples", multiples)
    return _moved(context, OPERATOR.TILE, told, options=schema.TileOptionsT(), sizes=sizes)


def broadcast_to(context: Context) -> Value:
    shape = [int(size) for size in context.attrs["shape"]]
    told = context.constant("shape", shape)
    return _moved(context, OPERATOR.BROADCAST_TO, told, options=schema.BroadcastToOptionsT(), sizes=shape)


def pad(context: Context) -> Value:
    value = float(context.attrs.get("value", 0.0))
    pads = [list(map(int, pair)) for pair in context.attrs["paddings"]]
    sizes = [size + sum(pair) for size, pair in zip(context.x.sizes, pads, strict=True)]
    told = context.constant("paddings", pads)
    if value == 0.0:
        return _moved(context, OPERATOR.PAD, told, options=schema.PadOptionsT(), sizes=sizes)
    made = context.result(sizes=sizes) if context.x.grid is None else context.result(context.x, sizes=sizes)
    filling = Number(f"{context.name}/value", np.array([value], np.float32))
    context.lowering.step(OPERATOR.PADV2, [context.x, told, filling], [made], schema.PadV2OptionsT(), one_grid=True)
    return made


def mirror_pad(context: Context) -> Value:
    kinds = {"REFLECT": schema.MirrorPadMode.REFLECT, "SYMMETRIC": schema.MirrorPadMode.SYMMETRIC}
    options = schema.MirrorPadOptionsT(mode=kinds[context.attrs["mode"].upper()])
    return _moved(
        context, OPERATOR.MIRROR_PAD, context.constant("paddings", context.attrs["paddings"]), options=options
    )


def space_to_depth(context: Context) -> Value:
    options = schema.SpaceToDepthOptionsT(blockSize=int(context.attrs["block_size"]))
    return _moved(context, OPERATOR.SPACE_TO_DEPTH, options=options)


def depth_to_space(context: Context) -> Value:
    options = schema.DepthToSpaceOptionsT(blockSize=int(context.attrs["block_size"]))
    return _moved(context, OPERATOR.DEPTH_TO_SPACE, options=options)


def space_to_batch(context: Context) -> Value:
    block, pads = context.attrs["block"], context.attrs["paddings"]
    shape = context.call.kept[0].shape
    sizes = [context.x.sizes[0] * int(np.prod(block)), *map(int, shape[1:])]
    told = context.constant("block", block), context.constant("paddings", pads)
    return _moved(context, OPERATOR.SPACE_TO_BATCH_ND, *told, options=schema.SpaceToBatchNDOptionsT(), sizes=sizes)


def batch_to_space(context: Context) -> Value:
    block, crops = context.attrs["block"], context.attrs["crops"]
    shape = context.call.kept[0].shape
    sizes = [context.x.sizes[0] // int(np.prod(block)), *map(int, shape[1:])]
    told = context.constant("block", block), context.constant("crops", crops)
    return _moved(context, OPERATOR.BATCH_TO_SPACE_ND, *told, options=schema.BatchToSpaceNDOptionsT(), sizes=sizes)


def strided_slice(context: Context) -> Value:
    """New axes by a reshape of their own, which every runtime has."""
    attrs, new = context.attrs, int(context.attrs.get("new_axis_mask", 0))
    if new:
        return _sliced_with_new_axes(context, new)
    told = [context.constant(name, attrs[name]) for name in ("begin", "end", "strides")]
    options = schema.StridedSliceOptionsT(beginMask=int(attrs["begin_mask"]), endMask=int(attrs["end_mask"]))
    options.shrinkAxisMask = int(attrs["shrink_axis_mask"])
    return _moved(context, OPERATOR.STRIDED_SLICE, *told, options=options)


def _sliced_with_new_axes(context: Context, new: int) -> Value:
    attrs, kept = context.attrs, [at for at in range(len(context.attrs["begin"])) if not new >> at & 1]
    begin, end, strides = ([attrs[name][at] for at in kept] for name in ("begin", "end", "strides"))

    def mask(name: str) -> int:
        return sum((int(attrs[name]) >> at & 1) << place for place, at in enumerate(kept))

    begins, ends, shrinks = (mask(name) for name in ("begin_mask", "end_mask", "shrink_axis_mask"))
    result, x = context.result(like=context.x), context.x
    whole = (1 << len(kept)) - 1
    if (begins, ends, shrinks) != (whole, whole, 0) or any(step != 1 for step in strides):
        sizes = _sliced_sizes(x, begin, end, strides, (begins, ends))
        shape = [None if size is None and begins >> at & 1 else sizes[at] for at, size in enumerate(x.shape)]
        part = Value([context.lowering.unique(f"{context.name}/part")], shape, sizes, x.dtype, x)
        options = schema.StridedSliceOptionsT(beginMask=begins, endMask=ends)
        named = zip(("begin", "end", "strides"), (begin, end, strides), strict=True)
        slices = [context.constant(name, values) for name, values in named]
        context.lowering.step(OPERATOR.STRIDED_SLICE, [x, *slices], [part], options)
        x = part
    open_ = [-1 if size is None else size for size in result.shape]
    told = open_ if context.lowering.is_open and open_.count(-1) < 2 else list(result.sizes)
    reshape_options = schema.ReshapeOptionsT(newShape=told)
    context.lowering.step(OPERATOR.RESHAPE, [x, context.constant("shape", told)], [result], reshape_options)
    return result


def _sliced_sizes(x: Value, begin: Any, end: Any, strides: Any, masks: tuple[int, int]) -> list[int]:
    """What a slice leaves of each axis, before any is taken away."""
    sizes = list(x.sizes)
    for at in range(len(begin)):
        first = None if masks[0] >> at & 1 else int(begin[at])
        last = None if masks[1] >> at & 1 else int(end[at])
        sizes[at] = len(range(x.sizes[at])[slice(first, last, int(strides[at]))])
    return sizes


def reverse(context: Context) -> Value:
    axes = [int(axis) % context.x.rank for axis in np.atleast_1d(context.attrs["axis"])]
    return _moved(context, OPERATOR.REVERSE_V2, context.constant("axis", axes), options=schema.ReverseV2OptionsT())


def gather(context: Context) -> Value:
    axis = int(context.attrs.get("axis", 0)) % context.x.rank
    made = context.result(like=context.x)
    options = schema.GatherOptionsT(axis=axis, batchDims=0)
    context.lowering.step(OPERATOR.GATHER, [context.x, context.operands[1]], [made], options)
    return made


def gather_constant(context: Context) -> Value:
    axis = int(context.attrs["axis"]) % context.x.rank
    told = context.constant("indices", context.attrs["indices"])
    return _moved(context, OPERATOR.GATHER, told, options=schema.GatherOptionsT(axis=axis, batchDims=0))


def split(context: Context) -> list[Value]:
    sizes, axis = [int(size) for size in context.attrs["sizes"]], int(context.attrs["axis"]) % context.x.rank
    made = [context.result(like=context.x, at=place) for place in range(len(sizes))]
    told = context.constant("sizes", sizes), context.constant("axis", axis)
    context.lowering.step(OPERATOR.SPLIT_V, [context.x, *told], made, schema.SplitVOptionsT(numSplits=len(sizes)))
    return made


def unpack(context: Context) -> list[Value]:
    count, axis = int(context.attrs["num"]), int(context.attrs["axis"]) % context.x.rank
    made = [context.result(like=context.x, at=place) for place in range(count)]
    context.lowering.step(OPERATOR.UNPACK, [context.x], made, schema.UnpackOptionsT(num=count, axis=axis))
    return made


def _pool(context: Context, operator: int) -> Value:
    size, strides = (_two(context.attrs[name]) for name in ("ksize", "strides"))
    options = schema.Pool2DOptionsT(padding=PADDING[context.attrs["padding"]])
    options.filterHeight, options.filterWidth = size
    options.strideH, options.strideW = strides
    return _moved(context, operator, options=options)


def _two(sizes: Sequence[int]) -> list[int]:
    """Height and width, of two sizes or of four, or of one for both."""
    if isinstance(sizes, int):
        return [sizes, sizes]
    return [int(size) for size in (sizes[1:3] if len(sizes) == 4 else sizes)]


def max_pool(context: Context) -> Value:
    return _pool(context, OPERATOR.MAX_POOL_2D)


def avg_pool(context: Context) -> Value:
    return _pool(context, OPERATOR.AVERAGE_POOL_2D)


def resize_bilinear(context: Context) -> Value:
    return _resized(context, OPERATOR.RESIZE_BILINEAR, schema.ResizeBilinearOptionsT())


def resize_nearest(context: Context) -> Value:
    return _resized(context, OPERATOR.RESIZE_NEAREST_NEIGHBOR, schema.ResizeNearestNeighborOptionsT())


def _resized(context: Context, operator: int, options: Any) -> Value:
    options.alignCorners = bool(context.attrs.get("align_corners", False))
    options.halfPixelCenters = bool(context.attrs.get("half_pixel_centers", True))
    return _moved(context, operator, context.constant("size", context.attrs["size"]), options=options)


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
