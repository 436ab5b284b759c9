"""What the converter leaves in float at the borders of an integer graph though nothing there needs a real number."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

_WHOLE = {schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT16, schema.TensorType.INT32}
_WHOLE |= {schema.TensorType.INT64}
_IO = {"int8": schema.TensorType.INT8, "uint8": schema.TensorType.UINT8, "int16": schema.TensorType.INT16}


def integer_borders(content: Any, io: str) -> None:
    """Whole numbers that are cast to real ones only to be quantized become codes at once; inputs that nothing reads
    take the dtype `io` of the others. The graph computes what it did; `content` is a `ModelT`, changed in place.
    """
    graph = content.subgraphs[0]
    codes = [operator_of(content, op) for op in graph.operators]
    readers: dict[int, list[int]] = {}
    for place, op in enumerate(graph.operators):
        for tensor in op.inputs:
            readers.setdefault(int(tensor), []).append(place)
    for place, op in enumerate(graph.operators):
        behind = readers.get(int(op.outputs[0]), []) if codes[place] == schema.BuiltinOperator.CAST else []
        if behind and all(codes[reader] == schema.BuiltinOperator.QUANTIZE for reader in behind):
            _cast_to_codes(graph, op)
    for index in graph.inputs:
        if int(index) not in readers and index not in graph.outputs and io in _IO:
            _unread(graph.tensors[index], _IO[io])


def operator_of(content: Any, op: Any) -> int:
    """The builtin operator's number."""
    code = content.operatorCodes[op.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _cast_to_codes(graph: Any, op: Any) -> None:
    """int -> float32 -> codes as int -> int32 (scale 1, zero point 0) -> codes: QUANTIZE takes int32 as well."""
    source, target = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if source.type not in _WHOLE or target.type != schema.TensorType.FLOAT32:
        return
    target.type, target.quantization = schema.TensorType.INT32, _grid(1.0)
    if op.builtinOptions is not None:
        op.builtinOptions.outDataType = schema.TensorType.INT32


def _unread(tensor: Any, dtype: int) -> None:
    if tensor.type == schema.TensorType.FLOAT32:
        tensor.type, tensor.quantization = dtype, _grid(1.0)


def _grid(scale: float) -> Any:
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = [scale], [0]
    return made
