"""Convolutions, dense layers and tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.export.lowering.lowering import Context
from qat.export.lowering.planned_ops import OPERATOR, Bias, Kernel, Number, Operand, Value
from qat.export.lowering.scales import KernelCodes

PADDING = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}


def channels_first(kernel: NDArray) -> NDArray:
    return np.moveaxis(kernel, -1, 0)


def unchanged_with_batch(kernel: NDArray) -> NDArray:
    """Of a depthwise kernel [height, width, 1, channels]: [1, height, width, channels]."""
    return kernel.transpose(2, 0, 1, 3)


def _weights(context: Context) -> tuple[Kernel, Bias | None]:
    layer, weights = context.call.layer, context.lowering.weights
    depthwise = context.call.inner.kind == "depthwise_conv2d"
    arrange, axis = (unchanged_with_batch, 3) if depthwise else (channels_first, 0)
    held, bias = weights.kernel(layer), weights.bias(layer)
    kinds = {"codes": held} if isinstance(held, KernelCodes) else {"real": held}
    kernel = Kernel(f"{context.name}/kernel", arrange, axis, **kinds)
    return kernel, None if bias is None else Bias(f"{context.name}/bias", bias, kernel, context.x)


def _zeros(context: Context, kernel: Kernel) -> Bias:
    """Kernels of older runtimes want a bias."""
    return Bias(f"{context.name}/bias", np.zeros(kernel.values.shape[-1], np.float32), kernel, context.x)


def _padded(context: Context) -> tuple[Value, int]:
    """What is convolved, and how its border is treated."""
    attrs = context.attrs
    if attrs["padding"] != "EXPLICIT":
        return context.x, PADDING[attrs["padding"]]
    pads = [list(map(int, pair)) for pair in attrs["explicit"]]
    sizes = [size + sum(pair) for size, pair in zip(context.x.sizes, pads, strict=True)]
    shape = [None if size is None else full for size, full in zip(context.x.shape, sizes, strict=True)]
    made = Value([context.lowering.unique(f"{context.name}/pad")], shape, sizes, "float32", context.x)
    inputs: list[Operand | None] = [context.x, context.constant("paddings", pads)]
    context.lowering.step(OPERATOR.PAD, inputs, [made], schema.PadOptionsT())
    return made, PADDING["VALID"]


def conv2d(context: Context) -> Value:
    (kernel, bias), (x, padding), attrs = _weights(context), _padded(context), context.attrs
    options = schema.Conv2DOptionsT(padding=padding)
    options.strideH, options.strideW = map(int, attrs["strides"])
    options.dilationHFactor, options.dilationWFactor = map(int, attrs["dilations"])
    return context.step(OPERATOR.CONV_2D, [x, kernel, bias or _zeros(context, kernel)], options)


def depthwise_conv2d(context: Context) -> Value:
    (kernel, bias), (x, padding), attrs = _weights(context), _padded(context), context.attrs
    options = schema.DepthwiseConv2DOptionsT(padding=padding)
    options.strideH, options.strideW = map(int, attrs["strides"])
    options.dilationHFactor, options.dilationWFactor = map(int, attrs["dilations"])
    options.depthMultiplier = int(context.call.inner.weight_specs["kernel"]["shape"][3])
    return context.step(OPERATOR.DEPTHWISE_CONV_2D, [x, kernel, bias or _zeros(context, kernel)], options)


def dense(context: Context) -> Value:
    kernel, bias = _weights(context)
    options = schema.FullyConnectedOptionsT(keepNumDims=context.x.rank > 2)
    return context.step(OPERATOR.FULLY_CONNECTED, [context.x, kernel, bias or _zeros(context, kernel)], options)


def conv2d_transpose(context: Context) -> Value:
    kernel, bias = _weights(context)
    result = context.result()
    options = schema.TransposeConvOptionsT(padding=PADDING[context.attrs["padding"]])
    options.strideH, options.strideW = map(int, context.attrs["strides"])
    size = _output_size(context, result)
    inputs = [size, kernel, context.x, *([] if bias is None else [bias])]
    context.lowering.step(OPERATOR.TRANSPOSE_CONV, inputs, [result], options)
    return result


def _output_size(context: Context, result: Value) -> Operand:
    """What the kernel is told of its result's size: a constant, or computed from an open batch."""
    if not context.lowering.is_open or result.shape[0] is not None:
        return context.constant("size", result.sizes)

    def integer(what: str, *sizes: int) -> Value:
        return Value([context.lowering.unique(f"{context.name}/{what}")], sizes, sizes, "int32")

    step, whole, first, made = context.lowering.step, integer("shape", 4), integer("samples"), integer("size", 4)
    step(OPERATOR.SHAPE, [context.x], [whole], schema.ShapeOptionsT(outType=schema.TensorType.INT32))
    one, zero = context.constant("one", [1]), context.constant("zero", [0])
    step(OPERATOR.STRIDED_SLICE, [whole, zero, one, one], [first], schema.StridedSliceOptionsT(shrinkAxisMask=1))
    sizes = [context.constant("side", size) for size in result.sizes[1:]]
    step(OPERATOR.PACK, [first, *sizes], [made], schema.PackOptionsT(valuesCount=4, axis=0))
    return made


def embedding(context: Context) -> Value:
    """Rows of a table, whose grid they keep."""
    rows, grid = context.lowering.weights.table(context.call.layer)
    table = Number(f"{context.name}/table", rows, grid, None if grid is None else rows)
    made = context.result()
    made.held.grid, made.held.real = grid, grid is None
    context.lowering.step(OPERATOR.GATHER, [table, context.x], [made], schema.GatherOptionsT(axis=0, batchDims=0))
    return made


LINEAR: dict[str, Callable[[Context], Value]] = {
    "conv2d": conv2d,
    "conv2d_transpose": conv2d_transpose,
    "dense": dense,
    "depthwise_conv2d": depthwise_conv2d,
    "embedding": embedding,
}
