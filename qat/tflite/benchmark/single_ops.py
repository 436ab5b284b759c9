"""Each operator of a file as a file of its own, so that it can be timed alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from qat.errors import TfliteFileError
from qat.tflite.reader import DAMAGE
from qat.tflite.writer import pack

STATEFUL = frozenset({"WHILE", "IF", "CALL_ONCE", "VAR_HANDLE", "ASSIGN_VARIABLE", "READ_VARIABLE"})


def one_op_files(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(index in the first subgraph, file) of every operator that computes something of the file's inputs.

    What only prepares constants (DEQUANTIZE of float16 weights, …) goes with the operator that reads it, as in the
    whole file, where it is done once. Operators with state or subgraphs of their own are left out.

    Raises:
        TfliteFileError: a file that the runtime takes, and whose tables make no sense all the same.
    """
    try:
        yield from _one_op_files(content)
    except DAMAGE as error:
        raise TfliteFileError(f"the file's operators cannot be taken apart: {error}") from error


def _one_op_files(content: bytes) -> Iterator[tuple[int, bytes]]:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    makers = {int(output): index for index, op in enumerate(graph.operators) for output in op.outputs}
    fixed = _fixed(model, graph)
    for index, op in enumerate(graph.operators):
        if all(int(output) in fixed for output in op.outputs) or _is_stateful(model, graph, op):
            continue
        before = _preparing(graph, op, makers, fixed)
        yield index, _cut_out(model, graph, [*before, index])


def tiny_model() -> bytes:
    """A file that adds its one float32 input `[1, 1]` to itself."""
    code, op, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode, code.version = schema.BuiltinOperator.ADD, 1
    op.inputs, op.outputs = [0, 0], [1]
    op.builtinOptionsType, op.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [_scalar("x"), _scalar("y")], [0], [1], [op]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    return pack(model)


def _scalar(name: str) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, [1, 1], schema.TensorType.FLOAT32
    return tensor


def _has_content(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _fixed(model: Any, graph: Any) -> set[int]:
    """Tensors that are constants, or are computed from constants alone."""
    found = {index for index, tensor in enumerate(graph.tensors) if _has_content(model, tensor)}
    for op in graph.operators:
        inputs = [int(i) for i in op.inputs if i >= 0]
        if inputs and all(i in found for i in inputs):
            found.update(int(output) for output in op.outputs)
    return found


def _is_stateful(model: Any, graph: Any, op: Any) -> bool:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    code = model.operatorCodes[op.opcodeIndex]
    name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "")
    return name in STATEFUL or any(i >= 0 and graph.tensors[i].isVariable for i in op.inputs)


def _preparing(graph: Any, op: Any, makers: dict[int, int], fixed: set[int]) -> list[int]:
    """The operators that make constants for this one, in the file's order."""
    wanted, stack = set(), [int(i) for i in op.inputs if i >= 0]
    while stack:
        tensor = stack.pop()
        if tensor in fixed and tensor in makers and makers[tensor] not in wanted:
            wanted.add(makers[tensor])
            stack.extend(int(i) for i in graph.operators[makers[tensor]].inputs if i >= 0)
    return sorted(wanted)


def _cut_out(model: Any, graph: Any, indices: list[int]) -> bytes:
    """A model of these operators; its inputs are what the last of them reads and nobody here makes."""
    ops = [copy.copy(graph.operators[index]) for index in indices]
    used = list(
        dict.fromkeys(int(i) for op in ops for i in (*op.inputs, *op.outputs, *(op.intermediates or [])) if i >= 0)
    )
    place = {tensor: at for at, tensor in enumerate(used)} | {-1: -1}
    made = {int(i) for op in ops for i in op.outputs}
    cut = schema.SubGraphT()
    cut.tensors, buffers = [], [schema.BufferT()]
    for tensor in used:
        own = copy.copy(graph.tensors[tensor])
        own.shapeSignature = None
        if _has_content(model, graph.tensors[tensor]):
            buffers.append(model.buffers[own.buffer])
            own.buffer = len(buffers) - 1
        else:
            own.buffer = 0
        cut.tensors.append(own)
    entries = [t for t in used if t not in made and not _has_content(model, graph.tensors[t])]
    outputs = [int(i) for i in ops[-1].outputs]
    for op in ops:
        op.inputs, op.outputs = ([place[int(i)] for i in side] for side in (op.inputs, op.outputs))
        op.intermediates = [place[int(i)] for i in op.intermediates] if op.intermediates is not None else None
    cut.operators, cut.inputs, cut.outputs = ops, [place[i] for i in entries], [place[i] for i in outputs]
    small = schema.ModelT()
    small.version, small.operatorCodes, small.subgraphs, small.buffers = 3, model.operatorCodes, [cut], buffers
    return pack(small)
