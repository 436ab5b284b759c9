"""The same number computed twice is computed once."""

from __future__ import annotations

from typing import Any

from qat.quantization.ir.graph import Graph, Node

SMALL_BYTES = 4096  # constants up to here are compared by value


def common_subexpressions(graph: Graph) -> bool:
    """Nodes with the same op on the same inputs become one. Returns whether there were any.

    The converter does so anyway, and would then meet two ranges on one tensor. A pass over the graph and no `Rewrite`:
    what stands in a node's place is another node, which one table of all nodes finds.
    """
    graph.sort()
    seen: dict[Any, Node] = {}
    changed: dict[Any, Any] = {}
    for node in list(graph.nodes):
        node.inputs = [changed.get(tensor, tensor) for tensor in node.inputs]
        key = _identity(node)
        first = node if key is None else seen.setdefault(key, node)
        if first is not node:
            changed.update(zip(node.outputs, first.outputs, strict=True))
            graph.record("common_subexpressions", node, node.op, [first.op])
    graph.outputs = [changed.get(tensor, tensor) for tensor in graph.outputs]
    graph.prune()
    return bool(changed)


def _identity(node: Node) -> Any:
    """What two nodes have in common that compute the same; None where that is not known."""
    if node.op in ("input", "tap") or (node.op == "variable" and node.weights["value"].key is None):
        return None
    if node.op == "const":
        value = node.value
        return (value.dtype.str, value.shape, value.tobytes()) if value.nbytes <= SMALL_BYTES else None
    keys = tuple((name, weight.key) for name, weight in node.weights.items())
    if any(key is None for _, key in keys):
        return None
    return node.op, tuple(map(id, node.inputs)), keys, repr(sorted(node.attrs.items(), key=lambda item: item[0]))
