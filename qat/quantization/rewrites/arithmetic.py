"""Arithmetic without an int8 kernel of its own, spelt in arithmetic that has one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, Weight, computed, is_fixed
from qat.quantization.rewrites.builder import Builder, Match, constant_of, fixed_and_other, only_reader, scalar_of
from qat.quantization.rewrites.driver import rewrite

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # https://arxiv.org/abs/1706.02515


def _selu(build: Builder, x: Tensor) -> Tensor:
    """scale * (relu(x) + alpha * (exp(min(x, 0)) - 1)), with x - relu(x) for min(x, 0).

    Its gradient at 0 is that of the positive side.
    """
    positive = build.add("relu", x, with_zero=1.0)
    grown = build.add("mul", build.add("exp", build.add("sub", x, positive)), _SELU_ALPHA)
    return build.add("mul", build.add("add", positive, build.add("add", grown, -_SELU_ALPHA)), _SELU_SCALE)


def _softplus(build: Builder, x: Tensor) -> Tensor:
    """relu(x) + log(1 + exp(-|x|)): no large exponent. Its gradient at 0 is 0.5."""
    small = build.add("exp", build.add("mul", build.add("abs", x), -1.0))
    return build.add("add", build.add("relu", x, with_zero=0.5), build.add("log", build.add("add", small, 1.0)))


UNARY: dict[str, Callable[[Builder, Tensor], Tensor]] = {
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
def unary(match: Match) -> Tensor:
    """Selu, Softplus, Softsign, Square, Neg and their like."""
    return UNARY[match.node.op](match, match.inputs[0])


@rewrite("mul")
def chosen_by_mask(match: Match) -> Tensor | None:
    """x * cast(condition) chooses between x and 0."""
    for mask, x in (match.inputs, match.inputs[::-1]):
        if _is_condition(mask):
            return match.add("select", mask.node.inputs[0], x, 0.0, shape=match.shape)
    return None


@rewrite("cast")
def cast_of_condition(match: Match) -> Tensor | None:
    """A condition cast to a real number, and read, chooses between 1 and 0."""
    read = any(match.output in each.inputs for each in match.graph.nodes) or match.output in match.graph.outputs
    if not read or not _is_condition(match.output):
        return None
    return match.add("select", match.inputs[0], 1.0, 0.0, shape=match.shape)


def _is_condition(tensor: Tensor) -> bool:
    node = tensor.node
    return node.op == "cast" and tensor.dtype == "float32" and node.inputs[0].dtype == "bool"


@rewrite("equal", "not_equal")
def comparison_for_equality(match: Match) -> Tensor | None:
    """x != y of real numbers as |x - y| > 0: GREATER compares codes, NOT_EQUAL would stay in float."""
    x, y = match.inputs
    if x.dtype != "float32":
        return None
    gap = x if scalar_of(y) == 0.0 else match.add("sub", x, y, dtype="float32")
    size = match.add("abs", gap, dtype="float32")
    return match.add("greater" if match.node.op == "not_equal" else "less_equal", size, 0.0, shape=match.shape)


@rewrite("split")
def without_empty_parts(match: Match) -> list[Tensor] | None:
    """A split leaves out parts of no size, which a converter cannot quantize."""
    sizes = match.attrs["sizes"]
    if 0 not in sizes:
        return None
    kept = [at for at, size in enumerate(sizes) if size]
    match.node.attrs["sizes"] = [sizes[at] for at in kept]
    match.node.outputs = [match.node.outputs[at] for at in kept]
    return match.node.outputs


@rewrite("reverse")
def reversal(match: Match) -> Tensor:
    """A reversed axis is a slice with the stride -1, whose kernel takes integers."""
    rank = match.inputs[0].rank
    every = (1 << rank) - 1
    turned = {axis % rank for axis in match.attrs["axis"]}
    return match.add(
        "strided_slice",
        match.inputs[0],
        shape=match.shape,
        begin=[0] * rank,
        end=[0] * rank,
        strides=[-1 if axis in turned else 1 for axis in range(rank)],
        begin_mask=every,
        end_mask=every,
        shrink_axis_mask=0,
        new_axis_mask=0,
    )


@rewrite("mul")
def square_of_difference(match: Match) -> Tensor | None:
    """(x - y) * (x - y) is one op, rounded once; where x - y is read elsewhere too, it stays."""
    x, y = match.inputs
    between = x.node
    if x is not y or between.op != "sub" or x in match.graph.outputs or any(map(is_fixed, between.inputs)):
        return None
    if any(reader is not match.node for reader in match.graph.nodes if x in reader.inputs):
        return None
    return match.add("squared_difference", *between.inputs, shape=match.shape)


@rewrite("tf:Pow")
def power(match: Match) -> Tensor | None:
    """Whole powers become products, halves roots; others are exp(p log x), of an x that is certainly positive, as
    a constant."""
    x, exponent = match.inputs[0], scalar_of(match.inputs[1])
    base = constant_of(x)
    if base is not None and np.all(base > 0):
        return match.add("exp", match.add("mul", match.inputs[1], np.log(base), shape=match.shape), shape=match.shape)
    if exponent not in (1.0, 2.0, 3.0, 4.0, 0.5, -0.5, -1.0):
        if is_fixed(x) or not is_fixed(match.inputs[1]) or _at_least(x) <= 0:
            return None
        scaled = match.add("mul", match.add("log", x), match.inputs[1], shape=match.shape)
        return match.add("exp", scaled, shape=match.shape)
    if exponent in (0.5, -0.5):
        return match.add("sqrt" if exponent > 0 else "rsqrt", x)
    if exponent == -1.0:
        return match.add("div", 1.0, x)
    y = x
    for _ in range(int(exponent) - 1):
        y = match.add("mul", y, x)
    return y


@rewrite("add")
def sum_with_itself(match: Match) -> Tensor | None:
    """x + x as 2 x: the converter exchanges a sum and a reshape of both operands, and loses the range between."""
    x, y = match.inputs
    if x is not y or is_fixed(x):
        return None
    return match.add("mul", x, 2.0, shape=match.shape)


@rewrite("tf:AddN")
def sum_of_many(match: Match) -> Tensor:
    """AddN as a chain of two-operand additions."""
    total = match.inputs[0]
    for tensor in match.inputs[1:]:
        total = match.add("add", total, tensor)
    return total


@rewrite("div")
def division_by_constant(match: Match) -> Tensor | None:
    """x / c as x * (1 / c)."""
    value = constant_of(match.inputs[1])
    if value is None or value.dtype.kind != "f" or not np.all(value != 0):
        return None
    return match.add("mul", match.inputs[0], 1.0 / value, shape=match.shape)


@rewrite("div")
def division_by_root(match: Match) -> Tensor | None:
    """x / sqrt(y) as x * rsqrt(y), a root that is bounded too: LiteRT's int8 SQRT drops what is after the point."""
    x, root = match.inputs
    bound, inner = fixed_and_other(root.node) if root.node.op == "maximum" else (None, root)
    least = scalar_of(bound)
    if inner is None or inner.node.op != "sqrt" or (bound is not None and (least is None or least <= 0)):
        return None
    y = inner.node.inputs[0]
    y = y if least is None else match.add("maximum", y, least * least, shape=root.shape)
    inverse = match.add("rsqrt", y, shape=root.shape)
    return inverse if scalar_of(x) == 1.0 else match.add("mul", x, inverse, shape=match.shape)


@rewrite("div")
def division_by_positive(match: Match) -> Tensor | None:
    """x / y as x * rsqrt(y)^2 where y is certainly positive.

    TensorFlow's own interpreter, and earlier runtimes, refuse a denominator on code 0, which is a number like others
    where the code of 0 is -128. By DIV a quotient would be rounded once (up to 6 dB better next to small denominators).
    """
    x, y = match.inputs
    if is_fixed(y) or _at_least(y) <= 0:
        return None
    root = match.add("rsqrt", y)
    inverse = match.add("mul", root, root)
    return inverse if scalar_of(x) == 1.0 else match.add("mul", x, inverse, shape=match.shape)


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
    if node.op in ("maximum", "minimum"):
        return {"maximum": max, "minimum": min}[node.op](_at_least(each) for each in node.inputs)
    if node.op == "tf:ClipByValue":
        return _at_least(node.inputs[1])
    if node.op == "clamp":
        return node.attrs["low"]
    kept = ("mean", "sum", "reshape", "transpose", "avg_pool", "max_pool")
    return _at_least(node.inputs[0]) if node.op in kept else -math.inf


@rewrite("sub")
def subtraction_of_constant(match: Match) -> Tensor | None:
    """x - c as x + (-c), so that it can become a bias."""
    x, value = match.inputs[0], constant_of(match.inputs[1])
    if value is None or value.dtype.kind != "f" or is_fixed(x):
        return None
    return match.add("add", x, -value, shape=match.shape)


@rewrite("tf:ClipByValue", "minimum", "maximum")
def clip(match: Match) -> Tensor | None:
    """min(max(x, low), high) as relu, relu6, or a saturation to [low, high]; max(x, low) of an x that is never smaller
    is x."""
    fixed, bounded = fixed_and_other(match.node) if match.node.op == "maximum" else (None, None)
    least = scalar_of(fixed)
    if (
        least is not None
        and match.inputs[0] is bounded
        and least <= _at_least(bounded)
        and bounded.shape == match.shape
    ):
        return bounded
    x, low, high, stops = _clipped(match.node, match)
    if x is None or low is None or high is None:
        return None
    slope = {} if stops else {"with_zero": 1.0}
    if low == 0 and high == 6:
        return match.add("relu6", x, **slope)
    if low == 0 and math.isinf(high):
        return match.add("relu", x, **slope)
    if low <= 0 <= high and math.isfinite(low) and math.isfinite(high):
        return match.add("clamp", match.add("relu", x) if stops and low == 0 else x, low=low, high=high)
    return None


def _clipped(node: Node, build: Builder) -> tuple[Tensor | None, float | None, float | None, bool]:
    """What is clipped, from where, to where, None where it is not known; and whether x has no gradient at the lower
    bound: at 0 that of ReLU and of max(0, x) is 0, that of max(x, 0) is 1."""
    if node.op == "tf:ClipByValue":
        return node.inputs[0], scalar_of(node.inputs[1]), scalar_of(node.inputs[2]), False
    fixed, x = fixed_and_other(node)
    bound = scalar_of(fixed)
    if bound is None:
        return None, None, None, False
    inner, alone = x.node, only_reader(build.graph, x) is node
    other = {"minimum": "maximum", "maximum": "minimum"}[node.op]
    inner_fixed, inner_x = fixed_and_other(inner)
    inner_bound = scalar_of(inner_fixed) if inner.op == other and alone else None
    if inner_bound is not None:
        stops = is_fixed((node if node.op == "maximum" else inner).inputs[0])
        return inner_x, *((inner_bound, bound) if node.op == "minimum" else (bound, inner_bound)), stops
    if inner.op == "relu" and node.op == "minimum" and alone:
        return inner.inputs[0], 0.0, bound, not inner.attrs.get("with_zero")
    if node.op == "maximum" and bound == 0:
        return x, 0.0, math.inf, is_fixed(node.inputs[0])
    return None, None, None, False


@rewrite()
def fold_constants(match: Match) -> list[Tensor] | None:
    """Compute what does not depend on the input."""
    if not match.inputs or not all(map(is_fixed, match.inputs)) or match.node.op.startswith("tf:"):
        return None
    for weight in computed(match.node):
        weight = Weight(weight.value) if _times_zero(match.node) else weight
        match.nodes.append(match.graph.make_fixed(weight, match.node.name, match.node.layer))
    return [folded.output for folded in match.nodes]


def _times_zero(node: Node) -> bool:
    """Whether it is 0 whatever the variables in it become: the first state of a recurrent layer, times its kernel."""
    zero = any(tensor.node.op == "const" and not tensor.node.value.any() for tensor in node.inputs)
    return zero and node.op in ("mul", "dense") and "bias" not in node.weights


@rewrite("add", "mul", "cast", "reshape", "identity")
def neutral(match: Match) -> Tensor | None:
    """x + 0, x * 1, casts to the same type, slices and reshapes that change nothing."""
    x = match.inputs[0]
    if match.node.op in ("add", "mul"):
        fixed, x = fixed_and_other(match.node)
        unit = 0.0 if match.node.op == "add" else 1.0
        return x if scalar_of(fixed) == unit and x.shape == match.shape else None
    return x if (x.shape, x.dtype) == (match.shape, match.output.dtype) else None
