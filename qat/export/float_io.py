"""Inputs that the converter leaves in float although an integer graph needs no real number there."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.file import per_tensor_quantization
from qat.export.lowering.scales import Grid

_INTEGER_TYPES = {schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16, schema.TensorType.INT32}
_INTEGER_TYPES |= {schema.TensorType.INT64}
_IO = {"int8": schema.TensorType.INT8, "uint8": schema.TensorType.UINT8, "int16": schema.TensorType.INT16}


def make_io_integer(content: schema.ModelT, io: str) -> None:
    """Let integer inputs become codes without float32 in between; the graph computes what it did.

    Integers that are cast to float32 only to be quantized stay integers. Inputs that nothing reads get the dtype of the
    others.

    Args:
        content: the unpacked file, changed in place.
        io: dtype of the other inputs: "int8", "uint8", "int16" or "float32".
    """
    graph = content.subgraphs[0]
    codes = [builtin_operator_of(content, op) for op in graph.operators]
    consumers: dict[int, list[int]] = {}
    for index, op in enumerate(graph.operators):
        for tensor in op.inputs:
            consumers.setdefault(int(tensor), []).append(index)
    for index, op in enumerate(graph.operators):
        consuming = consumers.get(int(op.outputs[0]), []) if codes[index] == schema.BuiltinOperator.CAST else []
        if consuming and all(codes[reader] == schema.BuiltinOperator.QUANTIZE for reader in consuming):
            _cast_to_int32(graph, op)
    for index in graph.inputs:
        if int(index) not in consumers and index not in graph.outputs and io in _IO:
            _retype_unread(graph.tensors[index], _IO[io])


def builtin_operator_of(content: schema.ModelT, op: schema.OperatorT) -> int:
    """An operator's number in `BuiltinOperator`.

    Args:
        content: the unpacked file.
        op: an operator of the file.

    Returns:
        The number, from 0; also for files that keep it in the older 8-bit field.
    """
    code = content.operatorCodes[op.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _cast_to_int32(graph: schema.SubGraphT, op: schema.OperatorT) -> None:
    """int -> float32 -> codes as int -> int32 (scale 1, zero point 0) -> codes: QUANTIZE takes int32 as well."""
    source, target = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if source.type not in _INTEGER_TYPES or target.type != schema.TensorType.FLOAT32:
        return
    target.type, target.quantization = schema.TensorType.INT32, per_tensor_quantization(Grid.symmetric(1.0))
    if op.builtinOptions is not None:
        op.builtinOptions.outDataType = schema.TensorType.INT32


def _retype_unread(tensor: schema.TensorT, dtype: int) -> None:
    if tensor.type == schema.TensorType.FLOAT32:
        tensor.type, tensor.quantization = dtype, per_tensor_quantization(Grid.symmetric(1.0))
