"""Cut each operator of a file into a file of its own, so that it can be timed alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from ai_edge_litert import schema_py_generated as schema

from qat.errors import TfliteFileError
from qat.tflite.reader import DAMAGE
from qat.tflite.writer import pack

STATEFUL = frozenset({"WHILE", "IF", "CALL_ONCE", "VAR_HANDLE", "ASSIGN_VARIABLE", "READ_VARIABLE"})


def one_op_files(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(index in the first subgraph, bytes of its file) of every operator that depends on the file's inputs.

    An operator that only computes constants (DEQUANTIZE of float16 weights, …) goes into the file of the operator that
    reads them, since the runtime computes it once. Operators with state or with subgraphs are left out.

    Raises:
        TfliteFileError: the file's tables are damaged, although the runtime accepts it.
    """
    try:
        yield from _one_op_files(content)
    except DAMAGE as error:
        raise TfliteFileError(f"the file's operators cannot be taken apart: {error}") from error


def _one_op_files(content: bytes) -> Iterator[tuple[int, bytes]]:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    producers = {int(output): index for index, op in enumerate(graph.operators) for output in op.outputs}
    fixed = _fixed_tensors(model, graph)
    for index, op in enumerate(graph.operators):
        if all(int(output) in fixed for output in op.outputs) or _is_stateful(model, graph, op):
            continue
        yield index, _extract(model, graph, [*_constant_producers(graph, op, producers, fixed), index])


def tiny_model() -> bytes:
    """A file that adds its one float32 input `[1, 1]` to itself."""
    code, op, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode, code.version = schema.BuiltinOperator.ADD, 1
    op.inputs, op.outputs = [0, 0], [1]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [_scalar("x"), _scalar("y")], [0], [1], [op]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    return pack(model)


def _scalar(name: str) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, [1, 1], schema.TensorType.FLOAT32
    return tensor


def _has_content(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _fixed_tensors(model: schema.ModelT, graph: schema.SubGraphT) -> set[int]:
    """Indices of tensors that are constants, or are computed from constants alone."""
    fixed = {index for index, tensor in enumerate(graph.tensors) if _has_content(model, tensor)}
    for op in graph.operators:
        inputs = [int(i) for i in op.inputs if i >= 0]
        if inputs and all(i in fixed for i in inputs):
            fixed.update(int(output) for output in op.outputs)
    return fixed


def _is_stateful(model: schema.ModelT, graph: schema.SubGraphT, op: schema.OperatorT) -> bool:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    code = model.operatorCodes[op.opcodeIndex]
    name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "")
    return name in STATEFUL or any(i >= 0 and graph.tensors[i].isVariable for i in op.inputs)


def _constant_producers(
    graph: schema.SubGraphT, op: schema.OperatorT, producers: dict[int, int], fixed: set[int]
) -> list[int]:
    """Indices of the operators that compute constants for this one, in the file's order."""
    operators, stack = set(), [int(i) for i in op.inputs if i >= 0]
    while stack:
        tensor = stack.pop()
        if tensor in fixed and tensor in producers and producers[tensor] not in operators:
            operators.add(producers[tensor])
            stack.extend(int(i) for i in graph.operators[producers[tensor]].inputs if i >= 0)
    return sorted(operators)


def _extract(model: schema.ModelT, graph: schema.SubGraphT, indices: list[int]) -> bytes:
    """The bytes of a model of these operators; its inputs are the tensors that none of them computes."""
    ops = [copy.copy(graph.operators[index]) for index in indices]
    used = list(
        dict.fromkeys(int(i) for op in ops for i in (*op.inputs, *op.outputs, *(op.intermediates or [])) if i >= 0)
    )
    new_index = {tensor: index for index, tensor in enumerate(used)} | {-1: -1}
    computed = {int(i) for op in ops for i in op.outputs}
    subgraph = schema.SubGraphT()
    subgraph.tensors, buffers = [], [schema.BufferT()]
    for index in used:
        tensor = copy.copy(graph.tensors[index])
        tensor.shapeSignature = None
        if _has_content(model, graph.tensors[index]):
            buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = len(buffers) - 1
        else:
            tensor.buffer = 0
        subgraph.tensors.append(tensor)
    inputs = [t for t in used if t not in computed and not _has_content(model, graph.tensors[t])]
    outputs = [int(i) for i in ops[-1].outputs]
    for op in ops:
        op.inputs, op.outputs = ([new_index[int(i)] for i in indices] for indices in (op.inputs, op.outputs))
        op.intermediates = [new_index[int(i)] for i in op.intermediates] if op.intermediates is not None else None
    subgraph.operators = ops
    subgraph.inputs, subgraph.outputs = [new_index[i] for i in inputs], [new_index[i] for i in outputs]
    result = schema.ModelT()
    result.version, result.operatorCodes, result.subgraphs, result.buffers = 3, model.operatorCodes, [subgraph], buffers
    return pack(result)
