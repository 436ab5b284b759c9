"""Arithmetic without an int8 kernel of its own, spelt in arithmetic that has one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, Weight
from qat.quantization.rewrites.builder import Builder, constant_of, is_fixed, only_reader, operand, scalar_of
from qat.quantization.rewrites.driver import rewrite


def _elu(build: Builder, x: Tensor, alpha: float = 1.0, scale: float = 1.0) -> Tensor:
    """scale * (relu(x) + alpha * (exp(min(x, 0)) - 1)); min(x, 0) is x - relu(x), which shares no scale."""
    positive = build.add("relu", x)
    grown = build.add("exp", build.add("sub", x, positive))
    bent = build.add("add", build.add("mul", grown, alpha) if alpha != 1.0 else grown, -alpha)
    total = build.add("add", positive, bent)
    return build.add("mul", total, scale) if scale != 1.0 else total


def _selu(build: Builder, x: Tensor) -> Tensor:
    return _elu(build, x, 1.6732632423543772, 1.0507009873554805)


def _softplus(build: Builder, x: Tensor) -> Tensor:
    """relu(x) + log(1 + exp(-|x|)): no large exponent."""
    small = build.add("exp", build.add("mul", build.add("abs", x), -1.0))
    return build.add("add", build.add("relu", x), build.add("log", build.add("add", small, 1.0)))


UNARY: dict[str, Callable[[Builder, Tensor], Tensor]] = {
    "tf:Elu": _elu,
    "tf:Expm1": lambda build, x: build.add("add", build.add("exp", x), -1.0),
    "tf:Log1p": lambda build, x: build.add("log", build.add("add", x, 1.0)),
    "neg": lambda build, x: build.add("mul", x, -1.0),
    "tf:Reciprocal": lambda build, x: build.add("div", 1.0, x),
    "tf:Inv": lambda build, x: build.add("div", 1.0, x),
    "tf:Selu": _selu,
    "tf:Softplus": _softplus,
    "tf:Softsign": lambda build, x: build.add("div", x, build.add("add", build.add("abs", x), 1.0)),
    "tf:Square": lambda build, x: build.add("mul", x, x),
}


@rewrite(*UNARY)
def unary(node: Node, build: Builder) -> Tensor:
    """Elu, Selu, Softplus, Softsign, Square, Neg and their like."""
    return UNARY[node.op](build, node.inputs[0])


@rewrite("mul")
def chosen_by_mask(node: Node, build: Builder) -> Tensor | None:
    """x * cast(condition) chooses between x and 0."""
    for mask, x in (node.inputs, node.inputs[::-1]):
        if _is_condition(mask):
            return build.add("select", mask.node.inputs[0], x, 0.0, shape=node.output.shape)
    return None


@rewrite("cast")
def cast_of_condition(node: Node, build: Builder) -> Tensor | None:
    """A condition cast to a real number, and read, chooses between 1 and 0."""
    if not _is_condition(node.output) or not any(node.output in each.inputs for each in build.graph.nodes):
        return None
    return build.add("select", node.inputs[0], 1.0, 0.0, shape=node.output.shape)


def _is_condition(tensor: Tensor) -> bool:
    node = tensor.node
    return node.op == "cast" and tensor.dtype == "float32" and node.inputs[0].dtype == "bool"


@rewrite("equal", "not_equal")
def comparison_for_equality(node: Node, build: Builder) -> Tensor | None:
    """x != y of real numbers as |x - y| > 0: GREATER compares codes, NOT_EQUAL would stay in float."""
    x, y = node.inputs
    if x.dtype != "float32":
        return None
    gap = x if scalar_of(y) == 0.0 else build.add("sub", x, y, dtype="float32")
    size = build.add("abs", gap, dtype="float32")
    return build.add("greater" if node.op == "not_equal" else "less_equal", size, 0.0, shape=node.output.shape)


@rewrite("split")
def without_empty_parts(node: Node, build: Builder) -> Tensor | None:
    """A split leaves out parts of no size, which a converter cannot quantize."""
    sizes = node.attrs["sizes"]
    if 0 not in sizes:
        return None
    kept = [at for at, size in enumerate(sizes) if size]
    node.attrs["sizes"] = [sizes[at] for at in kept]
    node.outputs = [node.outputs[at] for at in kept]
    return node.outputs


@rewrite("reverse")
def reversal(node: Node, build: Builder) -> Tensor:
    """A reversed axis is a slice with the stride -1, whose kernel takes integers."""
    rank = node.inputs[0].rank
    every = (1 << rank) - 1
    turned = {axis % rank for axis in node.attrs["axis"]}
    return build.add(
        "strided_slice",
        node.inputs[0],
        shape=node.output.shape,
        begin=[0] * rank,
        end=[0] * rank,
        strides=[-1 if axis in turned else 1 for axis in range(rank)],
        begin_mask=every,
        end_mask=every,
        shrink_axis_mask=0,
        new_axis_mask=0,
    )


@rewrite("mul")
def square_of_difference(node: Node, build: Builder) -> Tensor | None:
    """(x - y) * (x - y) is one op, rounded once; where x - y is read elsewhere too, it stays."""
    x, y = node.inputs
    between = x.node
    if x is not y or between.op != "sub" or x in build.graph.outputs or any(map(is_fixed, between.inputs)):
        return None
    if any(reader is not node for reader in build.graph.nodes if x in reader.inputs):
        return None
    return build.add("squared_difference", *between.inputs, shape=node.output.shape)


@rewrite("tf:Pow")
def power(node: Node, build: Builder) -> Tensor | None:
    """Whole powers become products, halves become roots; other exponents have no integer kernel."""
    x, exponent = node.inputs[0], scalar_of(node.inputs[1])
    if exponent not in (1.0, 2.0, 3.0, 4.0, 0.5, -0.5, -1.0):
        return None
    if exponent in (0.5, -0.5):
        return build.add("sqrt" if exponent > 0 else "rsqrt", x)
    if exponent == -1.0:
        return build.add("div", 1.0, x)
    y = x
    for _ in range(int(exponent) - 1):
        y = build.add("mul", y, x)
    return y


@rewrite("add")
def sum_with_itself(node: Node, build: Builder) -> Tensor | None:
    """x + x as 2 x: the converter exchanges a sum and a reshape of both operands, and loses the range between."""
    x, y = node.inputs
    if x is not y or is_fixed(x):
        return None
    return build.add("mul", x, 2.0, shape=node.output.shape)


@rewrite("tf:AddN")
def sum_of_many(node: Node, build: Builder) -> Tensor:
    """AddN as a chain of two-operand additions."""
    total = node.inputs[0]
    for tensor in node.inputs[1:]:
        total = build.add("add", total, tensor)
    return total


@rewrite("div")
def division_by_constant(node: Node, build: Builder) -> Tensor | None:
    """x / c as x * (1 / c)."""
    value = constant_of(node.inputs[1])
    if value is None or value.dtype.kind != "f" or not np.all(value != 0):
        return None
    return build.add("mul", node.inputs[0], 1.0 / value, shape=node.output.shape)


@rewrite("div")
def division_by_root(node: Node, build: Builder) -> Tensor | None:
    """x / sqrt(y) as x * rsqrt(y): LiteRT's int8 SQRT drops what is behind the point."""
    x, root = node.inputs
    if root.node.op != "sqrt":
        return None
    inverse = build.add("rsqrt", root.node.inputs[0], shape=root.shape)
    return inverse if scalar_of(x) == 1.0 else build.add("mul", x, inverse, shape=node.output.shape)


@rewrite("div")
def division_by_positive(node: Node, build: Builder) -> Tensor | None:
    """x / y as x * rsqrt(y)^2 where y is certainly positive.

    LiteRT's int8 DIV answers with the wrong end of the range for some codes (a numerator of code -1 under a denominator
    beyond 127 gives -127), and where the denominator's code is a power of two it is off by one or two.
    """
    x, y = node.inputs
    if is_fixed(y) or _at_least(y) <= 0:
        return None
    root = build.add("rsqrt", y)
    inverse = build.add("mul", root, root)
    return inverse if scalar_of(x) == 1.0 else build.add("mul", x, inverse, shape=node.output.shape)


def _at_least(tensor: Tensor) -> float:
    """A number that the tensor never falls short of; positive only where that is certain."""
    node = tensor.node
    if is_fixed(tensor):
        return -math.inf if constant_of(tensor) is None else float(constant_of(tensor).min())
    if node.op in ("relu", "relu6", "abs", "sigmoid", "softmax"):
        return 0.0
    if node.op == "sqrt":
        return math.sqrt(max(_at_least(node.inputs[0]), 0.0))
    if node.op in ("exp", "rsqrt"):
        return 1e-30
    if node.op == "add":
        return sum(_at_least(each) for each in node.inputs)
    if node.op == "mul":
        lows = [_at_least(each) for each in node.inputs]
        return lows[0] * lows[1] if min(lows) >= 0 else (0.0 if node.inputs[0] is node.inputs[1] else -math.inf)
    if node.op == "maximum":
        return max(_at_least(each) for each in node.inputs)
    return _at_least(node.inputs[0]) if node.op in ("mean", "sum", "reshape", "transpose") else -math.inf


@rewrite("sub")
def subtraction_of_constant(node: Node, build: Builder) -> Tensor | None:
    """x - c as x + (-c), so that it can become a bias."""
    x, value = node.inputs[0], constant_of(node.inputs[1])
    if value is None or value.dtype.kind != "f" or is_fixed(x):
        return None
    return build.add("add", x, -value, shape=node.output.shape)


@rewrite("tf:ClipByValue", "minimum", "maximum")
def clip(node: Node, build: Builder) -> Tensor | None:
    """min(max(x, low), high) as relu, relu6, or a saturation to [low, high]."""
    x, low, high = _clipped(node, build)
    if x is None or low is None or high is None:
        return None
    if low == 0 and high == 6:
        return build.add("relu6", x)
    if low == 0 and math.isinf(high):
        return build.add("relu", x)
    if low <= 0 <= high and math.isfinite(low) and math.isfinite(high):
        return build.add("clamp", x, low=low, high=high)
    return None


def _clipped(node: Node, build: Builder) -> tuple[Tensor | None, float | None, float | None]:
    """What is clipped, from where, to where; None where it is not known."""
    if node.op == "tf:ClipByValue":
        return node.inputs[0], scalar_of(node.inputs[1]), scalar_of(node.inputs[2])
    x = operand(node, fixed=False)
    bound = scalar_of(operand(node, fixed=True)) if x is not None else None
    if x is None or bound is None:
        return None, None, None
    inner, alone = x.node, only_reader(build.graph, x) is node
    other = {"minimum": "maximum", "maximum": "minimum"}[node.op]
    inner_x = operand(inner, fixed=False) if inner.op == other and alone else None
    inner_bound = scalar_of(operand(inner, fixed=True)) if inner_x is not None else None
    if inner_bound is not None:
        return inner_x, *((inner_bound, bound) if node.op == "minimum" else (bound, inner_bound))
    if inner.op == "relu" and node.op == "minimum" and alone:
        return inner.inputs[0], 0.0, bound
    return (x, 0.0, math.inf) if node.op == "maximum" and bound == 0 else (None, None, None)


@rewrite()
def fold_constants(node: Node, build: Builder) -> list[Tensor] | None:
    """Compute what does not depend on the input."""
    if not node.inputs or not all(map(is_fixed, node.inputs)) or node.op.startswith("tf:"):
        return None
    for weight in computed(node):
        weight = Weight(weight.value) if _times_zero(node) else weight
        build.nodes.append(build.graph.make_fixed(weight, node.name, node.layer))
    return [folded.output for folded in build.nodes]


def computed(node: Node) -> list[Weight]:
    """The results of a node that reads constants and variables alone."""
    operands = [tensor.node.weights["value"] for tensor in node.inputs]
    if not node.weights:
        return Weight.compute_all(node.op, operands, node.attrs)
    word, attrs = node.op, {"names": list(node.weights), "attrs": node.attrs}
    return Weight.compute_all(word, [*operands, *node.weights.values()], attrs)


def _times_zero(node: Node) -> bool:
    """Whether it is 0 whatever the variables in it become: the first state of a recurrent layer, times its kernel."""
    zero = any(tensor.node.op == "const" and not tensor.node.value.any() for tensor in node.inputs)
    return zero and node.op in ("mul", "dense") and "bias" not in node.weights


@rewrite("add", "mul", "cast", "reshape", "identity")
def neutral(node: Node, build: Builder) -> Tensor | None:
    """x + 0, x * 1, casts to the same type, slices and reshapes that change nothing."""
    x = node.inputs[0]
    if node.op in ("add", "mul"):
        fixed = operand(node, fixed=True)
        if fixed is None or scalar_of(fixed) != (0.0 if node.op == "add" else 1.0):
            return None
        x = operand(node, fixed=False)
        return x if x.shape == node.output.shape else None
    return x if (x.shape, x.dtype) == (node.output.shape, node.output.dtype) else None
