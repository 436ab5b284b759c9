"""Choices between numbers and bounds of them: what is never chosen is not computed, so that it sets no range.

An exponential that a hand-written ELU, softplus or sigmoid computes for the side that it does not take may be millions.
"""

from __future__ import annotations

import math

from qat.quantization.ir.graph import Graph, Node, Tensor, is_fixed
from qat.quantization.ir.operations import COMPARISONS
from qat.quantization.rewrites.builder import Match, fixed_and_other, scalar_of
from qat.quantization.rewrites.driver import rewrite

STEEP_FUNCTIONS = {"exp", "log", "square", "tf:Exp", "tf:Expm1", "tf:Log1p", "tf:Softplus", "tf:Square"}
OF_ONE_NUMBER = {*STEEP_FUNCTIONS, "add", "sub", "mul", "div", "neg"}


@rewrite("select")
def chosen_extremes(match: Match) -> Tensor | None:
    """where(x > y, x, y) is a maximum, where(x > c, c, x) a minimum: of these only the result has to be in range."""
    question, *chosen = match.inputs
    if question.node.op not in COMPARISONS or question.shape != match.shape:
        return None
    if match.shape_of(chosen) != match.shape_of([match.output]):
        return None
    larger_first, is_strict = question.node.op in ("greater", "greater_equal"), question.node.op in ("greater", "less")
    for compared, op in (
        (question.node.inputs, "maximum" if larger_first else "minimum"),
        (question.node.inputs[::-1], "minimum" if larger_first else "maximum"),
    ):
        if all(_same(*pair) for pair in zip(compared, chosen, strict=True)):
            # where both are equal the first operand has the gradient, and a strict comparison chooses the second
            return match.add(op, *(chosen[::-1] if is_strict else chosen), shape=match.shape)
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same number, as one expression that is written twice."""
    if one is other or (scalar_of(one) is not None and scalar_of(one) == scalar_of(other)):
        return True
    nodes = (one.node, other.node)
    if nodes[0].op not in OF_ONE_NUMBER or nodes[0].op != nodes[1].op or nodes[0].attrs != nodes[1].attrs:
        return False
    return len(nodes[0].inputs) == len(nodes[1].inputs) and all(map(_same, nodes[0].inputs, nodes[1].inputs))


@rewrite("select")
def unchosen_side(match: Match) -> Tensor | None:
    """where(x > c, x, f(x)) with an exponential in f: as f(min(x, c)); what is not chosen sets no range."""
    question, *chosen = match.inputs
    if question.node.op not in COMPARISONS:
        return None
    larger_first, (one, other) = question.node.op in ("greater", "greater_equal"), question.node.inputs
    x, bound, is_above = (one, other, larger_first) if scalar_of(one) is None else (other, one, not larger_first)
    if scalar_of(bound) is None or is_fixed(x):
        return None
    sides = []
    for branch, above in zip(chosen, (is_above, not is_above), strict=True):
        path = _path(match.graph, branch, x)
        if STEEP_FUNCTIONS.isdisjoint(node.op for node in path) or _divides_by(path):
            sides.append(branch)
            continue
        side = match.add("maximum" if above else "minimum", x, bound, shape=x.shape, dtype=x.dtype)
        ends = {each: side for node in path for each in node.inputs if _same(each, x)}
        sides.append(_on_path(match, path, ends)[branch])
    return None if sides == chosen else match.add("select", question, *sides, shape=match.shape)


@rewrite("minimum", "maximum", "relu")
def bounded_exponential(match: Match) -> Tensor | None:
    """min(exp(x) - 1, 0) as exp(min(x, 0)) - 1, and so each extreme of a number that grows, or falls, with exp(x)."""
    operands = match.inputs if len(match.inputs) == 2 else [None, *match.inputs]  # relu as max(0, x)
    place = next((at for at, each in enumerate(operands) if each is not None and scalar_of(each) is None), None)
    other = operands[1 - place] if place is not None else None
    bound = 0.0 if other is None else scalar_of(other)
    if place is None or bound is None or operands[place].shape != match.shape:
        return None
    path, grows, end = _down_to_exponential(operands[place], bound)
    if not path or not path[-1].inputs[0].shape:
        return None
    x = path[-1].inputs[0]
    side = [x, end] if place == 0 else [end, x]  # where both are equal, the first has the gradient
    op = "minimum" if (match.node.op == "minimum") == grows else "maximum"
    within = match.add(op, *side, shape=x.shape, dtype=x.dtype)
    return _on_path(match, path[::-1], {x: within})[operands[place]]


def _down_to_exponential(y: Tensor, bound: float) -> tuple[list[Node], bool, float]:
    """The nodes from y down to the exponential of some x that it is computed from, whether y grows with x, and the x at
    which y is the bound. No nodes where y is computed in another way, or never there."""
    path, grows = [], True
    while True:
        node = y.node
        path.append(node)
        if node.op in ("exp", "tf:Exp", "tf:Expm1"):
            value = bound + 1.0 if node.op == "tf:Expm1" else bound
            return (path, grows, math.log(value)) if value > 0 else ([], grows, 0.0)
        fixed, inner = fixed_and_other(node)
        number = scalar_of(fixed)
        if node.op not in ("add", "sub", "mul") or number is None or number == 0.0 or inner.shape != y.shape:
            return [], grows, 0.0
        if node.op == "mul":
            bound, grows = bound / number, grows == (number > 0)
        elif node.op == "add":
            bound -= number
        else:
            bound, grows = (bound + number, grows) if node.inputs[0] is inner else (number - bound, not grows)
        y = inner


def _path(graph: Graph, end: Tensor, start: Tensor) -> list[Node]:
    """The nodes that compute one tensor from another number by number, in order; none where there are others."""
    path: list[Node] = []
    seen, waiting = set(), [end]
    while waiting:
        tensor = waiting.pop()
        if tensor in seen or is_fixed(tensor) or _same(tensor, start):
            continue
        seen.add(tensor)
        if tensor.node.op not in OF_ONE_NUMBER:
            return []
        path.append(tensor.node)
        waiting.extend(tensor.node.inputs)
    return sorted(path, key=graph.nodes.index)


def _divides_by(path: list[Node]) -> bool:
    """Whether a number of the path is divided by, which may be 0 at the bound and never where the side is chosen."""
    return any(node.op == "div" and not is_fixed(node.inputs[1]) for node in path)


def _on_path(match: Match, path: list[Node], instead: dict[Tensor, Tensor]) -> dict[Tensor, Tensor]:
    for node in path:
        inputs = [instead.get(tensor, tensor) for tensor in node.inputs]
        instead[node.output] = match.add(
            node.op, *inputs, shape=node.output.shape, dtype=node.output.dtype, **node.attrs
        )
    return instead
