"""Questions about infinities and signs, quotients that mind a zero, products along an axis."""

from __future__ import annotations

from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.rewrites.builder import Builder, is_fixed, scalar_of
from qat.quantization.rewrites.driver import rewrite
from qat.quantization.rewrites.windows import part_of

MOST_FACTORS = 16

ALWAYS = {"tf:IsFinite": True, "tf:IsInf": False, "tf:IsNan": False}  # of the values that codes stand for


@rewrite("select")
def finite(node: Node, build: Builder) -> Tensor | None:
    """Every number that a code stands for is finite: where(is_finite(x), x, 0) is x."""
    answer = ALWAYS.get(node.inputs[0].node.op)
    chosen = node.inputs[1 if answer else 2]
    return chosen if answer is not None and chosen.shape == node.output.shape else None


@rewrite("tf:Sign")
def sign(node: Node, build: Builder) -> Tensor:
    """1, 0 or -1, chosen by two comparisons."""
    x = node.inputs[0]
    above = build.add("greater", x, 0.0, shape=x.shape, dtype="bool")
    below = build.add("less", x, 0.0, shape=x.shape, dtype="bool")
    rest = build.add("select", below, -1.0, 0.0, shape=x.shape)
    return build.add("select", above, 1.0, rest, shape=x.shape)


@rewrite("tf:DivNoNan")
def division_without_nan(node: Node, build: Builder) -> Tensor | None:
    """x / y, and 0 where y is 0."""
    (x, y), shape = node.inputs, node.output.shape
    if is_fixed(y):
        return None if scalar_of(y) == 0.0 else build.add("div", x, y, shape=shape)
    zero = build.add("equal", y, 0.0, shape=y.shape, dtype="bool")
    safe = build.add("select", zero, 1.0, y, shape=y.shape)
    return build.add("select", zero, 0.0, build.add("div", x, safe, shape=shape), shape=shape)


@rewrite("product")
def product_along_axis(node: Node, build: Builder) -> Tensor | None:
    """A product of a few numbers, one factor after the other."""
    x, axes = node.inputs[0], node.attrs["axis"]
    if len(axes) != 1 or x.shape[axes[0]] is None or x.shape[axes[0]] > MOST_FACTORS:
        node.op = f"tf:Prod over more than one axis or more than {MOST_FACTORS} places"
        return None
    axis = axes[0]
    total, *parts = [part_of(build, x, axis, at, at + 1) for at in range(x.shape[axis])]
    for part in parts:
        total = build.add("mul", total, part)
    return build.reshape(total, node.output.shape)
