"""Arithmetic without an int8 kernel of its own, spelt in arithmetic that has one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.rewrites.builder import Builder, constant_of, is_fixed, only_reader, operand, scalar_of


def _elu(build: Builder, x: Tensor, alpha: float = 1.0, scale: float = 1.0) -> None:
    """scale * (relu(x) + alpha * (exp(min(x, 0)) - 1)); min(x, 0) is x - relu(x), which shares no scale."""
    positive = build.add("relu", x)
    grown = build.add("exp", build.add("sub", x, positive))
    bent = build.add("add", build.add("mul", grown, alpha) if alpha != 1.0 else grown, -alpha)
    total = build.add("add", positive, bent)
    if scale != 1.0:
        build.add("mul", total, scale)


def _selu(build: Builder, x: Tensor) -> None:
    _elu(build, x, 1.6732632423543772, 1.0507009873554805)


def _softplus(build: Builder, x: Tensor) -> Tensor:
    """relu(x) + log(1 + exp(-|x|)): no large exponent."""
    small = build.add("exp", build.add("mul", build.add("abs", x), -1.0))
    return build.add("add", build.add("relu", x), build.add("log", build.add("add", small, 1.0)))


def _mish(build: Builder, x: Tensor) -> None:
    build.add("mul", x, build.add("tanh", _softplus(build, x)))


def _softsign(build: Builder, x: Tensor) -> None:
    build.add("div", x, build.add("add", build.add("abs", x), 1.0))


def _log1p(build: Builder, x: Tensor) -> None:
    build.add("log", build.add("add", x, 1.0))


def _expm1(build: Builder, x: Tensor) -> None:
    build.add("add", build.add("exp", x), -1.0)


UNARY: dict[str, Callable[[Builder, Tensor], object]] = {
    "tf:Elu": _elu,
    "tf:Expm1": _expm1,
    "tf:Log1p": _log1p,
    "neg": lambda build, x: build.add("mul", x, -1.0),
    "tf:Reciprocal": lambda build, x: build.add("div", 1.0, x),
    "tf:Inv": lambda build, x: build.add("div", 1.0, x),
    "tf:Selu": _selu,
    "tf:Softplus": _softplus,
    "tf:Softsign": _softsign,
    "tf:Square": lambda build, x: build.add("mul", x, x),
}


def unary(graph: Graph) -> None:
    """Elu, Selu, Softplus, Softsign, Square, Neg and their like."""
    for node in graph.nodes_of(*UNARY):
        build = Builder(graph, node)
        UNARY[node.op](build, node.inputs[0])
        build.replace()


def chosen_by_mask(graph: Graph) -> None:
    """x * cast(condition) chooses between x and 0; a condition cast alone, between 1 and 0."""
    for node in graph.nodes_of("mul"):
        for mask, x in (node.inputs, node.inputs[::-1]):
            if _is_condition(mask) and node in graph.nodes:
                build = Builder(graph, node)
                build.add("select", mask.node.inputs[0], x, 0.0, shape=node.output.shape)
                build.replace()
    for node in graph.nodes_of("cast"):
        if _is_condition(node.output) and any(node.output in reader.inputs for reader in graph.nodes):
            build = Builder(graph, node)
            build.add("select", node.inputs[0], 1.0, 0.0, shape=node.output.shape)
            build.replace()


def _is_condition(tensor: Tensor) -> bool:
    node = tensor.node
    return node.op == "cast" and tensor.dtype == "float32" and node.inputs[0].dtype == "bool"


def comparison_for_equality(graph: Graph) -> None:
    """x != y of real numbers as |x - y| > 0: GREATER compares codes, NOT_EQUAL would stay in float."""
    for node in graph.nodes_of("equal", "not_equal"):
        if node.inputs[0].dtype != "float32":
            continue
        x, y = node.inputs
        build = Builder(graph, node)
        gap = x if scalar_of(y) == 0.0 else build.add("sub", x, y, dtype="float32")
        size = build.add("abs", gap, dtype="float32")
        build.add("greater" if node.op == "not_equal" else "less_equal", size, 0.0, shape=node.output.shape)
        build.replace()


def without_empty_parts(graph: Graph) -> None:
    """A split leaves out parts of no size, which a converter cannot quantize."""
    for node in graph.nodes_of("split"):
        sizes = node.attrs["sizes"]
        if 0 in sizes:
            kept = [at for at, size in enumerate(sizes) if size]
            node.attrs["sizes"] = [sizes[at] for at in kept]
            node.outputs = [node.outputs[at] for at in kept]


def reversal(graph: Graph) -> None:
    """A reversed axis is a slice with the stride -1, whose kernel takes integers."""
    for node in graph.nodes_of("reverse"):
        rank = node.inputs[0].rank
        every = (1 << rank) - 1
        turned = {axis % rank for axis in node.attrs["axis"]}
        build = Builder(graph, node)
        build.add(
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
        build.replace()


def square_of_difference(graph: Graph) -> None:
    """(x - y) * (x - y) is one op, rounded once; where x - y is read elsewhere too, it stays."""
    for node in graph.nodes_of("mul"):
        x, y = node.inputs
        between = x.node
        if x is not y or between.op != "sub" or x in graph.outputs or any(map(is_fixed, between.inputs)):
            continue
        if all(reader is node for reader in graph.nodes if x in reader.inputs):
            build = Builder(graph, node)
            build.add("squared_difference", *between.inputs, shape=node.output.shape)
            build.replace()


def power(graph: Graph) -> None:
    """Whole powers become products, halves become roots; other exponents have no integer kernel."""
    for node in graph.nodes_of("tf:Pow"):
        exponent = scalar_of(node.inputs[1]) if is_fixed(node.inputs[1]) else None
        if exponent not in (1.0, 2.0, 3.0, 4.0, 0.5, -0.5, -1.0):
            continue
        x, build = node.inputs[0], Builder(graph, node)
        if exponent in (0.5, -0.5):
            build.add("sqrt" if exponent > 0 else "rsqrt", x)
        elif exponent == -1.0:
            build.add("div", 1.0, x)
        else:
            y = x
            for _ in range(int(exponent) - 1):
                y = build.add("mul", y, x)
        build.replace() if build.nodes else graph.bypass(node)


def sum_with_itself(graph: Graph) -> None:
    """x + x as 2 x: the converter exchanges a sum and a reshape of both operands, and loses the range between."""
    for node in graph.nodes_of("add"):
        x, y = node.inputs
        if x is y and not is_fixed(x):
            build = Builder(graph, node)
            build.add("mul", x, 2.0, shape=node.output.shape)
            build.replace()


def sum_of_many(graph: Graph) -> None:
    """AddN as a chain of two-operand additions."""
    for node in graph.nodes_of("tf:AddN"):
        build = Builder(graph, node)
        total = node.inputs[0]
        for tensor in node.inputs[1:]:
            total = build.add("add", total, tensor)
        build.replace() if build.nodes else graph.bypass(node)


def division_by_constant(graph: Graph) -> None:
    """x / c as x * (1 / c)."""
    for node in graph.nodes_of("div"):
        value = constant_of(node.inputs[1])
        if value is not None and value.dtype.kind == "f" and np.all(value != 0):
            build = Builder(graph, node)
            build.add("mul", node.inputs[0], 1.0 / value, shape=node.output.shape)
            build.replace()


def division_by_root(graph: Graph) -> None:
    """x / sqrt(y) as x * rsqrt(y): LiteRT's int8 SQRT drops what is behind the point."""
    for node in graph.nodes_of("div"):
        x, root = node.inputs
        if root.node.op == "sqrt":
            build = Builder(graph, node)
            inverse = build.add("rsqrt", root.node.inputs[0], shape=root.shape)
            if scalar_of(x) != 1.0:
                build.add("mul", x, inverse, shape=node.output.shape)
            build.replace()


def division_by_positive(graph: Graph) -> None:
    """x / y as x * rsqrt(y)^2 where y is certainly positive.

    LiteRT's int8 DIV answers with the wrong end of the range for some codes (a numerator of code -1 under a denominator
    beyond 127 gives -127), and where the denominator's code is a power of two it is off by one or two.
    """
    for node in graph.nodes_of("div"):
        x, y = node.inputs
        if not is_fixed(y) and _at_least(y) > 0:
            build = Builder(graph, node)
            root = build.add("rsqrt", y)
            inverse = build.add("mul", root, root)
            if scalar_of(x) != 1.0:
                build.add("mul", x, inverse, shape=node.output.shape)
            build.replace()


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


def subtraction_of_constant(graph: Graph) -> None:
    """x - c as x + (-c), so that it can become a bias."""
    for node in graph.nodes_of("sub"):
        value = constant_of(node.inputs[1])
        if value is not None and value.dtype.kind == "f" and not is_fixed(node.inputs[0]):
            build = Builder(graph, node)
            build.add("add", node.inputs[0], -value, shape=node.output.shape)
            build.replace()


def _clamp(graph: Graph, node: Node, x: Tensor, low: float, high: float) -> None:
    build = Builder(graph, node)
    if low == 0 and high == 6:
        build.add("relu6", x)
    elif low == 0 and math.isinf(high):
        build.add("relu", x)
    elif low <= 0 <= high and math.isfinite(low) and math.isfinite(high):
        build.add("clamp", x, low=low, high=high)
    else:
        return
    build.replace()


def clip(graph: Graph) -> None:
    """min(max(x, low), high) as relu, relu6, or a saturation to [low, high]."""
    for node in graph.nodes_of("tf:ClipByValue"):
        low, high = scalar_of(node.inputs[1]), scalar_of(node.inputs[2])
        if low is not None and high is not None:
            _clamp(graph, node, node.inputs[0], low, high)
    for node in graph.nodes_of("minimum", "maximum"):
        _clip_pair(graph, node)


def _clip_pair(graph: Graph, outer: Node) -> None:
    inner_tensor = operand(outer, fixed=False)
    if outer not in graph.nodes or inner_tensor is None:
        return
    bound = scalar_of(operand(outer, fixed=True))
    inner = inner_tensor.node
    other = {"minimum": "maximum", "maximum": "minimum"}[outer.op]
    if bound is None:
        return
    x = operand(inner, fixed=False) if inner.op == other else None
    inner_bound = scalar_of(operand(inner, fixed=True)) if x is not None else None
    if inner_bound is not None and only_reader(graph, inner_tensor) is outer:
        low, high = (inner_bound, bound) if outer.op == "minimum" else (bound, inner_bound)
        _clamp(graph, outer, x, low, high)
    elif inner.op == "relu" and outer.op == "minimum" and only_reader(graph, inner_tensor) is outer:
        _clamp(graph, outer, inner.inputs[0], 0.0, bound)
    elif outer.op == "maximum" and bound == 0:
        _clamp(graph, outer, inner_tensor, 0.0, math.inf)


def fold_constants(graph: Graph) -> None:
    """Compute what does not depend on the input."""
    for node in list(graph.nodes):
        foldable = node.inputs and all(is_fixed(tensor) for tensor in node.inputs)
        if foldable and not node.op.startswith("tf:"):
            _fold(graph, node)


def _fold(graph: Graph, node: Node) -> None:
    folded = []
    for old, weight in zip(node.outputs, computed(node), strict=True):
        new = graph.make_fixed(Weight(weight.value) if _times_zero(node) else weight, node.name, node.layer)
        graph.replace(old, new.output)
        folded.append(new)
    at = graph.nodes.index(node)
    graph.nodes[at : at + 1] = folded


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


def neutral(graph: Graph) -> None:
    """x + 0, x * 1, casts to the same type, slices and reshapes that change nothing."""
    for node in graph.nodes_of("add", "mul"):
        fixed = operand(node, fixed=True)
        if fixed is None or fixed.node.op != "const":
            continue
        x = operand(node, fixed=False)
        unit = 0.0 if node.op == "add" else 1.0
        if scalar_of(fixed) == unit and x.shape == node.output.shape:
            graph.replace(node.output, x)
            graph.nodes.remove(node)
    for node in graph.nodes_of("cast", "reshape", "identity"):
        if node.inputs[0].shape == node.output.shape and node.inputs[0].dtype == node.output.dtype:
            graph.bypass(node)
