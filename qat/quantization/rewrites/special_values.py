"""Questions about infinities and signs, quotients that mind a zero, products along an axis."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, is_fixed
from qat.quantization.rewrites.builder import Match, scalar_of
from qat.quantization.rewrites.driver import rewrite
from qat.quantization.rewrites.windows import part_of

MOST_FACTORS = 16

OF_CONDITIONS = ("logical_and", "logical_or", "logical_not", "reduce_any", "reduce_all", "reshape", "identity", "tile")
UNKNOWN_SHAPE = "tf:Reshape to an unknown shape"  # as of Keras 3's median over an axis in the middle


@rewrite("select")
def finite(match: Match) -> Tensor | None:
    """Every number that a code stands for is finite, as the import says: where(is_finite(x), x, 0) is x."""
    answer = _answer(match.inputs[0].node)
    chosen = match.inputs[1 if answer else 2]
    return chosen if answer is not None and chosen.shape == match.shape else None


def _answer(condition: Node) -> bool | None:
    """What a condition says of every code, where that is the same."""
    if condition.op == "const":
        return bool(condition.value.flat[0]) if len(np.unique(condition.value)) == 1 else None
    if condition.op not in (*OF_CONDITIONS, UNKNOWN_SHAPE):
        return None
    answers = [
        _answer(each.node) for each in condition.inputs[: 2 if condition.op in ("logical_and", "logical_or") else 1]
    ]
    decisive = condition.op == "logical_or"
    if decisive in answers and len(answers) == 2:
        return decisive
    if None in answers:
        return None
    return not answers[0] if condition.op == "logical_not" else answers[0]


@rewrite("select")
def without_negative_zero(match: Match) -> Tensor | None:
    """No code stands for -0.0: where((x == 0) & signbit(x), c, x) is x. Keras 3 asks this before each argmin."""
    question = match.inputs[0].node
    parts = [tensor.node for tensor in question.inputs] if question.op == "logical_and" else []
    zero = any(node.op == "equal" and 0.0 in map(scalar_of, node.inputs) for node in parts)
    sign_bit = any(node.op == "less" and node.inputs[0].node.op == "tf:BitwiseAnd" for node in parts)
    return match.inputs[2] if zero and sign_bit and match.inputs[2].shape == match.shape else None


@rewrite("tf:Sign")
def sign(match: Match) -> Tensor:
    """1, 0 or -1, chosen by two comparisons."""
    x = match.inputs[0]
    above = match.add("greater", x, 0.0, shape=x.shape, dtype="bool")
    below = match.add("less", x, 0.0, shape=x.shape, dtype="bool")
    rest = match.add("select", below, -1.0, 0.0, shape=x.shape)
    return match.add("select", above, 1.0, rest, shape=x.shape)


@rewrite("tf:DivNoNan")
def division_without_nan(match: Match) -> Tensor | None:
    """x / y, and 0 where y is 0."""
    (x, y), shape = match.inputs, match.shape
    if is_fixed(y):
        return None if scalar_of(y) == 0.0 else match.add("div", x, y, shape=shape)
    zero = match.add("equal", y, 0.0, shape=y.shape, dtype="bool")
    safe = match.add("select", zero, 1.0, y, shape=y.shape)
    return match.add("select", zero, 0.0, match.add("div", x, safe, shape=shape), shape=shape)


@rewrite("euclidean_norm")
def euclidean_norm(match: Match) -> Tensor:
    """The root of a sum of squares."""
    x = match.inputs[0]
    return match.add(
        "sqrt", match.add("sum", match.add("mul", x, x), shape=match.shape, **match.attrs), shape=match.shape
    )


@rewrite("product")
def product_along_axis(match: Match) -> Tensor | None:
    """A product of a few numbers, one factor after the other."""
    x, axes = match.inputs[0], match.attrs["axis"]
    if len(axes) != 1 or x.shape[axes[0]] is None or x.shape[axes[0]] > MOST_FACTORS:
        match.node.op = f"tf:Prod over more than one axis or more than {MOST_FACTORS} places"
        return None
    axis = axes[0]
    total, *parts = [part_of(match, x, axis, at, at + 1) for at in range(x.shape[axis])]
    for part in parts:
        total = match.add("mul", total, part)
    return match.reshape(total, match.shape)


@rewrite("running_product")
def running_product(match: Match) -> Tensor | None:
    """What is multiplied up along an axis of a few places, one factor after the other."""
    x, axis, is_exclusive = match.inputs[0], match.attrs["axis"], match.attrs["exclusive"]
    places = x.shape[axis]
    if places is None or places > MOST_FACTORS or x.dtype != "float32":
        match.node.op = f"tf:Cumprod over more than {MOST_FACTORS} places, or of integers"
        return None
    order = range(places)[:: -1 if match.attrs["reverse"] else 1]
    factors = [part_of(match, x, axis, at, at + 1) for at in order]
    products = [factors[0]]
    for factor in factors[1 : -1 if is_exclusive else None]:
        products.append(match.add("mul", products[-1], factor, shape=factor.shape))
    if is_exclusive:
        products = [match.add("add", match.add("mul", factors[0], 0.0, shape=factors[0].shape), 1.0), *products][
            :places
        ]
    return match.add("concat", *(products[:: -1 if match.attrs["reverse"] else 1]), shape=match.shape, axis=axis)


@rewrite("tf:Cosh", "tf:Sinh")
def hyperbolic(match: Match) -> Tensor:
    """Half of exp(x) + exp(-x), or of their difference."""
    x, shape = match.inputs[0], match.shape
    sides = match.add("exp", x), match.add("exp", match.add("mul", x, -1.0))
    return match.add("mul", match.add("add" if match.node.op == "tf:Cosh" else "sub", *sides), 0.5, shape=shape)


@rewrite("tf:Xlogy")
def product_with_logarithm(match: Match) -> Tensor:
    """x log(y), and 0 where x is 0."""
    (x, y), shape = match.inputs, match.shape
    zero = match.add("equal", x, 0.0, shape=x.shape, dtype="bool")
    safe = match.add("select", zero, 1.0, y, shape=shape)
    return match.add("mul", x, match.add("log", safe, shape=shape), shape=shape)


@rewrite("tf:AdjustContrastv2")
def contrast(match: Match) -> Tensor | None:
    """Each channel's distances from its mean, times a constant."""
    x, factor = match.inputs[0], scalar_of(match.inputs[1])
    if factor is None or x.rank < 4:
        return None
    mean = match.add("mul", match.mean(x, [x.rank - 3, x.rank - 2]), 1.0 - factor)
    return match.add("add", match.add("mul", x, factor), mean, shape=match.shape)
