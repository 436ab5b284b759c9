"""Means that the converter leaves on the scale of their input, with a QUANTIZE some ops later, put on their own."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from qat.tflite.barriers import drop_unused_tensors, same_grid
from qat.tflite.borders import operator_of

_OP = schema.BuiltinOperator
_MOVES = {_OP.RESHAPE, _OP.TRANSPOSE, _OP.SQUEEZE, _OP.EXPAND_DIMS}  # values stay what they are


def means_on_their_scales(content: Any) -> None:
    """MEAN, moves, QUANTIZE as MEAN, moves: the mean is rounded once, on the scale that was trained for it.

    That of its input is several times coarser, for what is added up is not all at its largest at once. The converter
    leaves it there where a TRANSPOSE follows a RESHAPE, or the other way round. `content`: a `ModelT`, in place.
    """
    graph = content.subgraphs[0]
    readers: dict[int, list[Any]] = {}
    for op in graph.operators:
        for index in op.inputs:
            readers.setdefault(int(index), []).append(op)
    dropped = []
    for mean in graph.operators:
        if operator_of(content, mean) == _OP.MEAN and same_grid(graph, mean.inputs[0], mean.outputs[0]):
            moved, last = _chain(content, mean, readers)
            if last is not None:
                _put_on(graph, moved, last)
                dropped.append(last)
    if dropped:
        graph.operators = [op for op in graph.operators if not any(op is each for each in dropped)]
        drop_unused_tensors(graph)


def _chain(content: Any, mean: Any, readers: dict[int, list[Any]]) -> tuple[list[Any], Any]:
    """The mean and the moves behind it, each read by the next one alone, and the QUANTIZE at their end or None."""
    outputs, chain = set(map(int, content.subgraphs[0].outputs)), [mean]
    while True:
        index = int(chain[-1].outputs[0])
        behind = readers.get(index, [])
        if len(behind) != 1 or index in outputs:
            return chain, None
        kind = operator_of(content, behind[0])
        if kind == _OP.QUANTIZE:
            return chain, behind[0]
        if kind not in _MOVES:
            return chain, None
        chain.append(behind[0])


def _put_on(graph: Any, chain: list[Any], quantize: Any) -> None:
    """The tensors of the chain take the grid of the QUANTIZE behind it, whose output its last op makes."""
    grid = graph.tensors[quantize.outputs[0]]
    for op in chain:
        tensor = graph.tensors[op.outputs[0]]
        tensor.type, tensor.quantization = grid.type, grid.quantization
    chain[-1].outputs = [int(quantize.outputs[0])]
