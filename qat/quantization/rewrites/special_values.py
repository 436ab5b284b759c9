"""Questions about infinities and signs, quotients that mind a zero, products along an axis."""

from __future__ import annotations

from qat.quantization.ir.graph import Graph
from qat.quantization.rewrites.builder import Builder, is_fixed, scalar_of
from qat.quantization.rewrites.windows import part_of

MOST_FACTORS = 16

ALWAYS = {"tf:IsFinite": True, "tf:IsInf": False, "tf:IsNan": False}  # of the values that codes stand for


def finite(graph: Graph) -> None:
    """Every number that a code stands for is finite: where(is_finite(x), x, 0) is x."""
    for node in graph.nodes_of("select"):
        question = node.inputs[0].node
        if question.op in ALWAYS:
            chosen = node.inputs[1 if ALWAYS[question.op] else 2]
            if chosen.shape == node.output.shape:
                graph.bypass_to(node, chosen)


def sign(graph: Graph) -> None:
    """1, 0 or -1, chosen by two comparisons."""
    for node in graph.nodes_of("tf:Sign"):
        build = Builder(graph, node)
        x = node.inputs[0]
        above = build.add("greater", x, 0.0, shape=x.shape, dtype="bool")
        below = build.add("less", x, 0.0, shape=x.shape, dtype="bool")
        rest = build.add("select", below, -1.0, 0.0, shape=x.shape)
        build.add("select", above, 1.0, rest, shape=x.shape)
        build.replace()


def division_without_nan(graph: Graph) -> None:
    """x / y, and 0 where y is 0."""
    for node in graph.nodes_of("tf:DivNoNan"):
        x, y = node.inputs
        if is_fixed(y) and scalar_of(y) == 0.0:
            continue
        build = Builder(graph, node)
        if is_fixed(y):
            build.add("div", x, y, shape=node.output.shape)
        else:
            zero = build.add("equal", y, 0.0, shape=y.shape, dtype="bool")
            safe = build.add("select", zero, 1.0, y, shape=y.shape)
            build.add("select", zero, 0.0, build.add("div", x, safe, shape=node.output.shape), shape=node.output.shape)
        build.replace()


def product_along_axis(graph: Graph) -> None:
    """A product of a few numbers, one factor after the other."""
    for node in graph.nodes_of("product"):
        x, axes = node.inputs[0], node.attrs["axis"]
        if len(axes) != 1 or x.shape[axes[0]] is None or x.shape[axes[0]] > MOST_FACTORS:
            node.op = f"tf:Prod over more than one axis or more than {MOST_FACTORS} places"
            continue
        axis, build = axes[0], Builder(graph, node)
        parts = [part_of(build, x, axis, at, at + 1) for at in range(x.shape[axis])]
        total = parts[0]
        for part in parts[1:]:
            total = build.add("mul", total, part)
        build.reshape(total, node.output.shape)
        build.replace()
