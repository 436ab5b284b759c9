"""The CASTs that keep the converter from quantizing a layer which is to stay in float, taken out afterwards."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from qat.tflite.borders import operator_of

_ABSENT = -1  # an optional input that is not given


def without_barriers(content: Any) -> None:
    """Drop float32 -> float64 -> float32, so that no runtime has to know float64. `content`: a `ModelT`, in place.

    The values stay: what is widened and narrowed again is what it was.
    """
    graph = content.subgraphs[0]
    casts = [op for op in graph.operators if operator_of(content, op) == schema.BuiltinOperator.CAST]
    widened = {int(op.outputs[0]): op for op in casts if _types(graph, op) == _WIDENS}
    narrowed = [op for op in casts if _types(graph, op) == _NARROWS and int(op.inputs[0]) in widened]
    same: dict[int, int] = {}
    for op in narrowed:  # in the order of the graph: a pair may follow a pair
        source = int(widened[int(op.inputs[0])].inputs[0])
        same[int(op.outputs[0])] = same.get(source, source)
    if not same:
        return
    dropped = {id(op) for op in narrowed}
    graph.operators = [op for op in graph.operators if id(op) not in dropped]
    _read_instead(graph, same)
    read = {int(index) for op in graph.operators for index in op.inputs} | {int(index) for index in graph.outputs}
    graph.operators = [op for op in graph.operators if int(op.outputs[0]) not in widened or int(op.outputs[0]) in read]
    drop_unused_tensors(graph)


def same_grid(graph: Any, one: int, other: int) -> bool:
    """Whether two tensors hold codes of one dtype, one scale and one zero point."""
    a, b = graph.tensors[one], graph.tensors[other]
    grids = a.quantization, b.quantization
    if a.type != b.type or any(grid is None or grid.scale is None or len(grid.scale) != 1 for grid in grids):
        return False
    return grids[0].scale[0] == grids[1].scale[0] and grids[0].zeroPoint[0] == grids[1].zeroPoint[0]


_MOVES = {schema.BuiltinOperator.RESHAPE, schema.BuiltinOperator.TRANSPOSE}
_WIDENS = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT64)
_NARROWS = _WIDENS[::-1]


def _types(graph: Any, op: Any) -> tuple[int, int]:
    return graph.tensors[op.inputs[0]].type, graph.tensors[op.outputs[0]].type


def quantized_directly(content: Any) -> None:
    """Codes that become real numbers only to become codes again are requantized: DEQUANTIZE, QUANTIZE as one QUANTIZE,
    and none where they are on that grid already. `content`: a `ModelT`, in place.
    """
    graph = content.subgraphs[0]
    kinds = [operator_of(content, op) for op in graph.operators]
    _move_codes(graph, kinds)
    codes = {
        int(op.outputs[0]): int(op.inputs[0])
        for op, kind in zip(graph.operators, kinds, strict=True)
        if kind == schema.BuiltinOperator.DEQUANTIZE
    }
    same: dict[int, int] = {}
    for op, kind in zip(graph.operators, kinds, strict=True):
        if kind == schema.BuiltinOperator.QUANTIZE and int(op.inputs[0]) in codes:
            op.inputs = [codes[int(op.inputs[0])]]
            if same_grid(graph, op.inputs[0], op.outputs[0]) and int(op.outputs[0]) not in set(map(int, graph.outputs)):
                same[int(op.outputs[0])] = same.get(op.inputs[0], op.inputs[0])
    _read_instead(graph, same)
    codes |= same
    read = {int(index) for op in graph.operators for index in op.inputs} | {int(index) for index in graph.outputs}
    kept = [op for op in graph.operators if int(op.outputs[0]) not in codes or int(op.outputs[0]) in read]
    if len(kept) < len(graph.operators):
        graph.operators = kept
        drop_unused_tensors(graph)


def _move_codes(graph: Any, kinds: list[int]) -> None:
    """DEQUANTIZE, RESHAPE, QUANTIZE as RESHAPE, QUANTIZE: what moves real numbers between codes moves the codes."""
    read_by: dict[int, list[int]] = {}
    for op, kind in zip(graph.operators, kinds, strict=True):
        for index in op.inputs:
            read_by.setdefault(int(index), []).append(kind)
    for index in graph.outputs:
        read_by.setdefault(int(index), []).append(-1)
    codes: dict[int, int] = {}
    for op, kind in zip(graph.operators, kinds, strict=True):
        source, target = int(op.inputs[0]) if len(op.inputs) else -1, int(op.outputs[0])
        if kind == schema.BuiltinOperator.DEQUANTIZE:
            codes[target] = source
        elif kind in _MOVES and source in codes and set(read_by.get(target, [])) == {schema.BuiltinOperator.QUANTIZE}:
            op.inputs = [codes[source], *map(int, op.inputs[1:])]
            held, moved = graph.tensors[codes[source]], graph.tensors[target]
            moved.type, moved.quantization = held.type, held.quantization


def _read_instead(graph: Any, same: dict[int, int]) -> None:
    for op in graph.operators:
        op.inputs = [same.get(int(index), int(index)) for index in op.inputs]
    graph.outputs = [same.get(int(index), int(index)) for index in graph.outputs]


def drop_unused_tensors(graph: Any) -> None:
    lists = [graph.inputs, graph.outputs]
    lists += [indices for op in graph.operators for indices in (op.inputs, op.outputs, op.intermediates or [])]
    used = sorted({int(index) for indices in lists for index in indices} - {_ABSENT})
    new = {old: place for place, old in enumerate(used)} | {_ABSENT: _ABSENT}
    graph.tensors = [graph.tensors[index] for index in used]
    graph.inputs, graph.outputs = ([new[int(i)] for i in indices] for indices in (graph.inputs, graph.outputs))
    for op in graph.operators:
        op.inputs, op.outputs = [new[int(i)] for i in op.inputs], [new[int(i)] for i in op.outputs]
        if op.intermediates is not None:
            op.intermediates = [new[int(i)] for i in op.intermediates]
