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


def move_channels_first(kernel: NDArray) -> NDArray:
    return np.moveaxis(kernel, -1, 0)


def add_batch_axis(kernel: NDArray) -> NDArray:
    """A depthwise kernel [height, width, 1, channels] as [1, height, width, channels]."""
    return kernel.transpose(2, 0, 1, 3)


def _weights(context: Context) -> tuple[Kernel, Bias | None]:
    layer, weights = context.call.layer, context.lowering.weights
    depthwise = context.call.inner.kind == "depthwise_conv2d"
    arrange, axis = (add_batch_axis, 3) if depthwise else (move_channels_first, 0)
    stored, bias = weights.kernel(layer), weights.bias(layer)
    kinds = {"codes": stored} if isinstance(stored, KernelCodes) else {"real": stored}
    kernel = Kernel(f"{context.name}/kernel", arrange, axis, **kinds)
    return kernel, None if bias is None else Bias(f"{context.name}/bias", bias, kernel, context.x)


def _zeros(context: Context, kernel: Kernel) -> Bias:
    """Kernels of older runtimes need a bias."""
    return Bias(f"{context.name}/bias", np.zeros(kernel.values.shape[-1], np.float32), kernel, context.x)


def _padded(context: Context) -> tuple[Value, int]:
    """The input of the convolution, with explicit padding, and the padding of the operator."""
    attrs = context.attrs
    if attrs["padding"] != "EXPLICIT":
        return context.x, PADDING[attrs["padding"]]
    pads = [list(map(int, pair)) for pair in attrs["explicit"]]
    sizes = [size + sum(pair) for size, pair in zip(context.x.sizes, pads, strict=True)]
    shape = [None if size is None else full for size, full in zip(context.x.shape, sizes, strict=True)]
    result = Value([context.lowering.unique(f"{context.name}/pad")], shape, sizes, "float32", context.x)
    inputs: list[Operand | None] = [context.x, context.constant("paddings", pads)]
    context.lowering.add_op(OPERATOR.PAD, inputs, [result], schema.PadOptionsT())
    return result, PADDING["VALID"]


def conv2d(context: Context) -> Value:
    (kernel, bias), (x, padding), attrs = _weights(context), _padded(context), context.attrs
    options = schema.Conv2DOptionsT(padding=padding)
    options.strideH, options.strideW = map(int, attrs["strides"])
    options.dilationHFactor, options.dilationWFactor = map(int, attrs["dilations"])
    return context.add_op(OPERATOR.CONV_2D, [x, kernel, bias or _zeros(context, kernel)], options)


def depthwise_conv2d(context: Context) -> Value:
    (kernel, bias), (x, padding), attrs = _weights(context), _padded(context), context.attrs
    options = schema.DepthwiseConv2DOptionsT(padding=padding)
    options.strideH, options.strideW = map(int, attrs["strides"])
    options.dilationHFactor, options.dilationWFactor = map(int, attrs["dilations"])
    options.depthMultiplier = int(context.call.inner.weight_specs["kernel"]["shape"][3])
    return context.add_op(OPERATOR.DEPTHWISE_CONV_2D, [x, kernel, bias or _zeros(context, kernel)], options)


def dense(context: Context) -> Value:
    kernel, bias = _weights(context)
    options = schema.FullyConnectedOptionsT(keepNumDims=context.x.rank > 2)
    return context.add_op(OPERATOR.FULLY_CONNECTED, [context.x, kernel, bias or _zeros(context, kernel)], options)


def conv2d_transpose(context: Context) -> Value:
    kernel, bias = _weights(context)
    result = context.result()
    options = schema.TransposeConvOptionsT(padding=PADDING[context.attrs["padding"]])
    options.strideH, options.strideW = map(int, context.attrs["strides"])
    size = _output_size(context, result)
    inputs = [size, kernel, context.x, *([] if bias is None else [bias])]
    context.lowering.add_op(OPERATOR.TRANSPOSE_CONV, inputs, [result], options)
    return result


def _output_size(context: Context, result: Value) -> Operand:
    """The operand with the output's size: a constant, or computed from an open batch."""
    if not context.lowering.is_open or result.shape[0] is not None:
        return context.constant("size", result.sizes)

    def integer(what: str, *sizes: int) -> Value:
        return Value([context.lowering.unique(f"{context.name}/{what}")], sizes, sizes, "int32")

    add_op, constant = context.lowering.add_op, context.constant
    input_shape, samples, output_size = integer("shape", 4), integer("samples"), integer("size", 4)
    add_op(OPERATOR.SHAPE, [context.x], [input_shape], schema.ShapeOptionsT(outType=schema.TensorType.INT32))
    slices = [constant("zero", [0]), constant("one", [1]), constant("one", [1])]
    options = schema.StridedSliceOptionsT(shrinkAxisMask=1)
    add_op(OPERATOR.STRIDED_SLICE, [input_shape, *slices], [samples], options)
    sizes = [constant("side", size) for size in result.sizes[1:]]
    add_op(OPERATOR.PACK, [samples, *sizes], [output_size], schema.PackOptionsT(valuesCount=4, axis=0))
    return output_size


def embedding(context: Context) -> Value:
    """Rows of a table, whose grid they keep."""
    rows, grid = context.lowering.weights.table(context.call.layer)
    table = Number(f"{context.name}/table", rows, grid, None if grid is None else rows)
    result = context.result()
    result.representation.grid, result.representation.is_real = grid, grid is None
    context.lowering.add_op(OPERATOR.GATHER, [table, context.x], [result], schema.GatherOptionsT(axis=0, batchDims=0))
    return result


LINEAR: dict[str, Callable[[Context], Value]] = {
    "conv2d": conv2d,
    "conv2d_transpose": conv2d_transpose,
    "dense": dense,
    "depthwise_conv2d": depthwise_conv2d,
    "embedding": embedding,
}
