"""Large negative numbers added to scores before a softmax: masks, whose size must not widen the scores' range."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor
from qat.quantization.rewrites.builder import Builder, constant_of, is_fixed, operand, scalar_of

MASKED_BELOW = -1e4


MOVES = ("reshape", "strided_slice", "transpose", "tile")


def casts_through_moves(graph: Graph) -> None:
    """real(move(integer(condition))) is real(move(condition))."""
    for node in graph.nodes_of("cast"):
        if node.inputs[0].dtype == "bool" or node.output.dtype not in ("float32", "int32", "int64"):
            continue
        path, tensor = [], node.inputs[0]
        while tensor.node.op in MOVES:
            path.append(tensor.node)
            tensor = tensor.node.inputs[0]
        if tensor.node.op == "cast" and tensor.node.inputs[0].dtype == "bool":
            build = Builder(graph, node)
            y = tensor.node.inputs[0]
            for move in reversed(path):
                y = build.again(move, y, move.output.shape, "bool")
            build.again(node, y, node.output.shape, node.output.dtype)
            build.replace()


def through_selection(graph: Graph) -> None:
    """f(select(m, a, b)) with numbers a, b and a step f by another number is select(m, f(a), f(b)); where f only moves
    numbers, it moves m instead."""
    changed = True
    while changed:
        changed = any(_push(graph, node) for node in graph.nodes_of("add", "sub", "mul"))
        changed |= any(_move(graph, node) for node in graph.nodes_of(*MOVES))


def _move(graph: Graph, node: Node) -> bool:
    chosen = node.inputs[0].node
    if chosen.op != "select" or any(scalar_of(tensor) is None for tensor in chosen.inputs[1:]):
        return False
    condition = chosen.inputs[0]
    if condition.shape != chosen.output.shape:
        return False
    build = Builder(graph, node)
    moved = build.again(node, condition, node.output.shape, "bool")
    build.add("select", moved, *map(scalar_of, chosen.inputs[1:]), shape=node.output.shape)
    build.replace()
    return True


def _push(graph: Graph, node: Node) -> bool:
    fixed = operand(node, fixed=True)
    number = scalar_of(fixed) if fixed is not None else None
    if number is None or fixed.shape not in ((), (1,)):
        return False
    chosen = operand(node, fixed=False).node
    if chosen.op != "select" or any(scalar_of(t) is None for t in chosen.inputs[1:]):
        return False
    step = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[node.op]
    first = node.inputs[0] is fixed

    def after(value: float) -> float:
        return float(step(number, value) if first else step(value, number))

    build = Builder(graph, node)
    values = [after(scalar_of(tensor)) for tensor in chosen.inputs[1:]]
    build.add("select", chosen.inputs[0], *values, shape=node.output.shape)
    build.replace()
    return True


def additive_mask(graph: Graph) -> None:
    """x + (0 or -1e9) keeps x or hides it; the hidden ones take no part in the range (see `ranges`)."""
    for node in graph.nodes_of("add", "sub"):
        for x, mask in (node.inputs, node.inputs[::-1]):
            sign = -1.0 if node.op == "sub" else 1.0
            if is_fixed(x) or node not in graph.nodes or (node.op == "sub" and mask is not node.inputs[1]):
                continue
            build = Builder(graph, node)
            kept = _kept(build, mask, sign)
            if kept is not None:
                build.add("masked", kept, x, shape=node.output.shape)
                build.replace()


def _kept(build: Builder, mask: Tensor, sign: float) -> Tensor | None:
    """Where x is kept, if the tensor is nothing but zeros and large negative numbers."""
    value = constant_of(mask)
    if value is not None and value.dtype == np.float32 and value.size > 1:
        value = sign * value
        if np.all((value == 0) | (value <= MASKED_BELOW)) and not np.all(value == 0):
            kept = build.graph.make_constant(value == 0, f"{build.origin.name}/kept", build.origin.layer)
            build.nodes.append(kept)
            return kept.output
    if mask.node.op != "select" or any(scalar_of(tensor) is None for tensor in mask.node.inputs[1:]):
        return None
    hit, other = (sign * scalar_of(tensor) for tensor in mask.node.inputs[1:])
    condition = mask.node.inputs[0]
    if hit == 0 and other <= MASKED_BELOW:
        return condition
    if other == 0 and hit <= MASKED_BELOW:
        node = build.graph.make(
            "logical_not", f"{build.origin.name}/kept", [condition], shape=condition.shape, dtype="bool"
        )
        build.nodes.append(node)
        return node.output
    return None
