"""The lowest version of each operator that has what a use of it needs, so that older runtimes load the file.

Source: GetBuiltinOperatorVersion, tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.planned_ops import Options

_OP, _TYPE = schema.BuiltinOperator, schema.TensorType
Tensors = Sequence[Any]  # schema.TensorT, or None for an input that is left out


def lowest_version(operator: int, inputs: Tensors, outputs: Tensors, options: Options | None) -> int:
    """The version of an operator that has what one use of it needs.

    Args:
        operator: number of the operator in `BuiltinOperator`.
        inputs: its tensors of the schema, with dtypes and quantization; None for an optional one that is left out.
        outputs: the tensors of the schema that it computes.
        options: its options, an object of the schema; None for none.

    Returns:
        The version, 1 or more.
    """
    rule = _RULES.get(operator)
    return 1 if rule is None else rule(inputs, outputs, options)


def _int8(version: int = 2) -> Callable[[Tensors, Tensors, Any], int]:
    """`version` for int8, 1 for the rest."""
    return lambda inputs, outputs, options: version if inputs[0].type == _TYPE.INT8 else 1


def _convolution(
    inputs: Tensors, outputs: Tensors, options: schema.Conv2DOptionsT | schema.DepthwiseConv2DOptionsT
) -> int:
    x, kernel = inputs[0], inputs[1]
    grouped = isinstance(options, schema.Conv2DOptionsT) and x.shape[-1] != kernel.shape[-1]
    if kernel.type == _TYPE.INT4:
        return 7
    if grouped:
        return 6
    if x.type == _TYPE.INT8:
        return 3
    dilated = options.dilationHFactor != 1 or options.dilationWFactor != 1
    return 2 if dilated and isinstance(options, schema.DepthwiseConv2DOptionsT) else 1


def _fully_connected(inputs: Tensors, outputs: Tensors, options: schema.FullyConnectedOptionsT) -> int:
    kernel_version = {_TYPE.INT8: 4, _TYPE.INT4: 10}.get(inputs[1].type, 1)
    return max(kernel_version, 5) if options.keepNumDims else kernel_version


def _transposed(inputs: Tensors, outputs: Tensors, options: schema.TransposeConvOptionsT) -> int:
    if options.fusedActivationFunction:
        return 4
    if len(inputs) == 4:
        return 3
    return 2 if inputs[1].type == _TYPE.INT8 else 1


def _mul(inputs: Tensors, outputs: Tensors, options: Options) -> int:
    if inputs[0].type == _TYPE.INT64:
        return 5
    if inputs[0].type != _TYPE.INT8:
        return 1
    a, b, y = (float(tensor.quantization.scale[0]) for tensor in (*inputs, *outputs))
    return 3 if a * b / y >= 1.0 else 2


def _arithmetic(broadcast: int | None = None) -> Callable[[Tensors, Tensors, Any], int]:
    """The version of ADD and similar operators: `broadcast` is the version that does so on more than 4 axes."""

    def rule(inputs: Tensors, outputs: Tensors, options: Options) -> int:
        shapes = [list(tensor.shape) for tensor in inputs]
        if inputs[0].type == _TYPE.INT64:
            return 4
        if broadcast is not None and shapes[0] != shapes[1] and max(map(len, shapes)) > 4:
            return broadcast
        return 2 if inputs[0].type == _TYPE.INT8 else 1

    return rule


def _division(inputs: Tensors, outputs: Tensors, options: Options) -> int:
    shapes = [list(tensor.shape) for tensor in inputs]
    return 2 if shapes[0] != shapes[1] and max(map(len, shapes)) > 4 else 1


def _by_rank(*by_rank: tuple[int, int]) -> Callable[[Tensors, Tensors, Any], int]:
    """(axes, version) from the most axes on; below, by dtype."""

    def rule(inputs: Tensors, outputs: Tensors, options: Options) -> int:
        rank, kind = len(inputs[0].shape), inputs[0].type
        version = next((version for axes, version in by_rank if rank >= axes), None)
        return version or {_TYPE.INT8: 2, _TYPE.BOOL: 3}.get(kind, 1)

    return rule


def _strided_slice(inputs: Tensors, outputs: Tensors, options: schema.StridedSliceOptionsT) -> int:
    if options.ellipsisMask or options.newAxisMask:
        return 6
    return _by_rank((5, 4))(inputs, outputs, options)


def _gather(inputs: Tensors, outputs: Tensors, options: schema.GatherOptionsT) -> int:
    return 5 if options.batchDims else _by_rank()(inputs, outputs, options)


def _pad(inputs: Tensors, outputs: Tensors, options: Options) -> int:
    if inputs[0].type == _TYPE.BOOL:
        return 5
    return 4 if len(inputs[0].shape) > 4 else _int8()(inputs, outputs, options)


def _resize(
    inputs: Tensors, outputs: Tensors, options: schema.ResizeBilinearOptionsT | schema.ResizeNearestNeighborOptionsT
) -> int:
    aligned = options.alignCorners and isinstance(options, schema.ResizeNearestNeighborOptionsT)
    return 3 if options.halfPixelCenters or aligned else _int8()(inputs, outputs, options)


def _space_to_batch(inputs: Tensors, outputs: Tensors, options: Options) -> int:
    return 3 if len(inputs[0].shape) != 4 else _int8()(inputs, outputs, options)


def _cast(inputs: Tensors, outputs: Tensors, options: Options) -> int:
    return 3 if _TYPE.INT8 in (inputs[0].type, outputs[0].type) else 1


def _broadcast_to(inputs: Tensors, outputs: Tensors, options: Options) -> int:
    return 3 if inputs[0].type == _TYPE.INT8 else 2


def _split(inputs: Tensors, outputs: Tensors, options: Options) -> int:
    return {_TYPE.INT8: 2, _TYPE.INT32: 3, _TYPE.INT16: 4}.get(inputs[1].type, 1)


def _l2_norm(inputs: Tensors, outputs: Tensors, options: Options) -> int:
    return 2 if outputs[0].type == _TYPE.INT8 else 1


_PLAIN = (
    "ABS ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION DEPTH_TO_SPACE DEQUANTIZE EQUAL EXP GELU "
    "GREATER GREATER_EQUAL LESS LESS_EQUAL LOG LOGISTIC LOG_SOFTMAX MAX_POOL_2D MEAN MIRROR_PAD NOT_EQUAL PACK "
    "REDUCE_MAX REDUCE_MIN RELU RELU6 RSQRT SOFTMAX SPACE_TO_DEPTH SPLIT_V SQRT SQUARED_DIFFERENCE SUM TANH TOPK_V2"
)
_RULES: dict[int, Callable[[Tensors, Tensors, Any], int]] = {
    **{getattr(_OP, name): _int8() for name in _PLAIN.split()},
    _OP.ADD: _arithmetic(),
    _OP.BATCH_TO_SPACE_ND: _space_to_batch,
    _OP.BROADCAST_TO: _broadcast_to,
    _OP.CAST: _cast,
    _OP.CONV_2D: _convolution,
    _OP.DEPTHWISE_CONV_2D: _convolution,
    _OP.DIV: _division,
    _OP.FULLY_CONNECTED: _fully_connected,
    _OP.GATHER: _gather,
    _OP.L2_NORMALIZATION: _l2_norm,
    _OP.MAXIMUM: _arithmetic(broadcast=3),
    _OP.MINIMUM: _arithmetic(broadcast=3),
    _OP.MUL: _mul,
    _OP.PAD: _pad,
    _OP.PADV2: _pad,
    _OP.RESIZE_BILINEAR: _resize,
    _OP.RESIZE_NEAREST_NEIGHBOR: _resize,
    _OP.REVERSE_V2: _int8(3),
    _OP.SPACE_TO_BATCH_ND: _space_to_batch,
    _OP.SPLIT: _split,
    _OP.STRIDED_SLICE: _strided_slice,
    _OP.SUB: _arithmetic(broadcast=3),
    _OP.TILE: _int8(3),
    _OP.TRANSPOSE: _by_rank((7, 8), (6, 6), (5, 4)),
    _OP.TRANSPOSE_CONV: _transposed,
    _OP.UNPACK: _by_rank(),
}
