"""The same number computed twice is computed once."""

from __future__ import annotations

from typing import Any

from qat.quantization.ir.graph import Graph, Node, Tensor

SMALL_BYTES = 4096  # constants up to here are compared by value
DEPTH = 6  # how many ops in a row `are_same` compares


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
    own = _own_identity(node)
    return own if own is None or node.op == "const" else (own, tuple(map(id, node.inputs)))


def _own_identity(node: Node) -> Any:
    """The same of all but the inputs."""
    if node.op in ("input", "tap") or (node.op == "variable" and node.weights["value"].key is None):
        return None
    if node.op == "const":
        value = node.value
        return (value.dtype.str, value.shape, value.tobytes()) if value.nbytes <= SMALL_BYTES else None
    keys = tuple((name, weight.key) for name, weight in node.weights.items())
    if any(key is None for _, key in keys):
        return None
    return node.op, keys, repr(sorted(node.attrs.items(), key=lambda item: item[0]))


def are_same(x: Tensor, y: Tensor, depth: int = DEPTH) -> bool:
    """Whether two tensors are computed alike from the same ones.

    Args:
        x: a tensor of any shape.
        y: another one.
        depth: how many ops one after another are looked at.

    Returns:
        Whether they are known to be the same.
    """
    if x is y:
        return True
    one, other = x.node, y.node
    if depth == 0 or len(one.inputs) != len(other.inputs) or len(one.outputs) > 1:
        return False
    own = _own_identity(one)
    return (
        own is not None
        and own == _own_identity(other)
        and all(are_same(a, b, depth - 1) for a, b in zip(one.inputs, other.inputs, strict=True))
    )
