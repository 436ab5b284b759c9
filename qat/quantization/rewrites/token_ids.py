"""Integers that travel as floats: the token ids of a Keras model that begins with Embedding.

`Sequential([Embedding(...), ...])` declares a float32 input, and casts it to integers first of all. No code could carry
such ids; as integers they need none. What only moves them, or compares them with constants, moves integers.
"""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight, is_fixed
from qat.quantization.rewrites.builder import Match, constant_of
from qat.quantization.rewrites.driver import rewrite

IDS = "int32"  # what the file takes in place of float ids
MOVES = ("reshape", "transpose", "strided_slice", "identity", "unpack", "split", "tile", "reverse", "gather_constant")
ID_COMPARISONS = ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal")


@rewrite("input", "cast")
def integer_inputs(match: Match) -> Tensor | None:
    """A float input that is only ever cast to integers is an integer input; integers cast to float and back stay."""
    source = match.inputs[0] if match.node.op == "cast" else None
    if match.output.dtype != "float32" or (source is not None and not source.dtype.startswith(("int", "uint"))):
        return None
    readers, dtype = _readers_of_ids(match.graph, match.output), IDS if source is None else source.dtype
    if not readers:
        return match.output if source is not None and _back_at_once(match.graph, match.node, source) else None
    _carry(match.graph, readers, dtype)
    if source is None:
        match.output.dtype = dtype
    return source or match.output


def _back_at_once(graph: Graph, node: Node, source: Tensor) -> bool:
    """Let ops that cast the result of a cast back to integers read its source. Returns whether there was one."""
    readers = [each for each in graph.nodes_of("cast") if each.inputs[0] is node.output]
    readers = [each for each in readers if each.output.dtype.startswith("int")]
    for reader in readers:
        reader.inputs = [source]
        if reader.output.dtype == source.dtype:
            graph.bypass(reader)
    return bool(readers)


def _readers_of_ids(graph: Graph, start: Tensor) -> list[Node]:
    """Every node that a tensor reaches before it is cast to integers or compared with integers; none if it reaches
    anything else, or is not cast at all."""
    consumers, found, waiting = graph.consumers(), [], [start]
    while waiting:
        tensor = waiting.pop()
        if any(tensor is output for output in graph.outputs):
            return []
        for node in consumers.get(tensor, []):
            if _moves(node):
                waiting += node.outputs
            elif not (_casts(node) or _compares(node, tensor)):
                return []
            found.append(node)
    return found if any(map(_casts, found)) else []


def _casts(node: Node) -> bool:
    return node.op == "cast" and node.output.dtype in ("int32", "int64")


def _moves(node: Node) -> bool:
    to_float = node.op == "cast" and node.output.dtype == "float32"
    return len(node.inputs) == 1 and (node.op in MOVES or to_float)


def _compares(node: Node, tensor: Tensor) -> bool:
    if node.op == "cast":
        return node.output.dtype == "bool"
    others = [constant_of(other) for other in node.inputs if other is not tensor]
    whole = all(value is not None and np.array_equal(value, np.trunc(value)) for value in others)
    return node.op in ID_COMPARISONS and whole


def _carry(graph: Graph, readers: list[Node], dtype: str) -> None:
    """The same nodes, on integers."""
    for node in readers:
        if node.op == "cast" and node.output.dtype in (dtype, "float32"):
            graph.bypass(node)
        elif node.op in MOVES:
            for output in node.outputs:
                output.dtype = dtype
        elif node.op in ID_COMPARISONS:
            node.inputs = [_whole(graph, node, tensor, dtype) for tensor in node.inputs]


def _whole(graph: Graph, node: Node, tensor: Tensor, dtype: str) -> Tensor:
    value = constant_of(tensor)
    if value is None:
        return tensor
    made = graph.make_constant(value.astype(dtype), f"{node.name}/whole", node.layer)
    graph.insert_before(node, made)
    return made.output


@rewrite("gather")
def lookup(match: Match) -> Tensor | None:
    """Rows of a table that is constant or computed from variables, at computed places; of another axis, that axis is
    brought in front of the table, and back after the lookup."""
    table, indices = match.inputs
    if not is_fixed(table) or is_fixed(indices) or match.attrs.get("batch_dims"):
        return None
    weight, rank, shape = table.node.weights["value"], len(indices.shape), match.shape
    axis = match.attrs["axis"] % weight.value.ndim
    if axis:
        others = [each for each in range(weight.value.ndim) if each != axis]
        weight = Weight.compute("transpose", weight, perm=[axis, *others])
        shape = (*indices.shape, *weight.value.shape[1:])
    rows = match.lookup(weight, indices, shape)
    order = [*range(rank, rank + axis), *range(rank), *range(rank + axis, len(shape))]
    return match.add("transpose", rows, shape=match.shape, perm=order) if axis else rows
