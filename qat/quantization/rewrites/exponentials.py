"""Functions that are written by hand in exponentials, as the one op that they are.

In 8 bits the largest exponential would leave no code to the others.
"""

from __future__ import annotations

import math

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, is_fixed
from qat.quantization.ir.operations import LINEAR
from qat.quantization.rewrites.builder import (
    Builder,
    Match,
    constant_of,
    fixed_and_other,
    negated,
    scalar_of,
    scaled,
    without_axes,
    without_bound,
)
from qat.quantization.rewrites.common_subexpressions import are_same
from qat.quantization.rewrites.driver import rewrite

SCORES = (*LINEAR, "batch_matmul", "tanh", "tf:Einsum")
LARGEST_ADDED = 0.1  # to keep a probability off 0
PASSED = (
    "reshape",
    "strided_slice",
    "transpose",
    "mul",
    "add",
    "sub",
    "masked",
    "clamp",
    "maximum",
    "minimum",
    "stop_gradient",
)


@rewrite("div", "mul", "tf:DivNoNan")
def softmax_of_exponentials(match: Match) -> Tensor | None:
    """exp(x) / sum(exp(x)), of which a condition or a constant of 0 and 1 may hide places after the exponential."""
    for share, other in (match.inputs, match.inputs[::-1]) if match.node.op == "mul" else (match.inputs,):
        total = _reciprocal(other) if match.node.op == "mul" else other
        x, kept = _exponential(match, share)
        axis = None if x is None or total is None or share.shape != match.shape else _summed_axis(total, share)
        if axis:
            x = _without_largest(x, axis)
            hidden = x if kept is None else match.add("masked", kept, x, shape=x.shape, adds=False)
            y = _softmax(match, hidden, axis)
            return y if kept is None else match.add("select", kept, y, 0.0, shape=match.shape)
    return None


@rewrite("div")
def mean_of_exponential_weights(match: Match) -> Tensor | None:
    """sum(exp(x) y) / sum(exp(x)) along an axis is the sum of softmax(x) y: a pooling by attention."""
    above, total = match.inputs[0].node, _sum_in(match.inputs[1]).node
    if (above.op, total.op) != ("sum", "sum") or above.attrs != total.attrs or above.inputs[0].node.op != "mul":
        return None
    (product,), (each,) = above.inputs, total.inputs
    axes = total.attrs["axis"]
    if each.node.op != "exp" or axes in ([0], []) or len(axes) > 1 or each.rank != product.rank:
        return None
    for share, y in (product.node.inputs, product.node.inputs[::-1]):
        if are_same(share, each) and share.shape[axes[0]] == product.shape[axes[0]]:
            weights = _softmax(match, each.node.inputs[0], axes[0])
            weighted = match.add("mul", weights, y, shape=product.shape)
            return match.add("sum", weighted, shape=match.shape, **total.attrs)
    return None


def _reciprocal(tensor: Tensor) -> Tensor | None:
    """x, where `tensor` is 1 / x."""
    return tensor.node.inputs[1] if tensor.node.op == "div" and scalar_of(tensor.node.inputs[0]) == 1.0 else None


def _exponential(match: Match, tensor: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """x and a condition, where the tensor is exp(x) where that is true, and 0 elsewhere; no condition where it is
    always."""
    node = tensor.node
    if node.op == "exp":
        return node.inputs[0], None
    if node.op == "select" and scalar_of(node.inputs[2]) == 0.0 and node.inputs[1].node.op == "exp":
        x = node.inputs[1].node.inputs[0]
        return (x, node.inputs[0]) if x.shape == tensor.shape else (None, None)
    fixed, factor = fixed_and_other(node)
    mask = constant_of(fixed)
    if node.op != "mul" or mask is None or factor.node.op != "exp" or not set(np.unique(mask)) <= {0.0, 1.0}:
        return None, None
    kept = match.graph.make_constant(mask == 1.0, f"{match.node.name}/kept", match.node.layer)
    match.nodes.append(kept)
    return (factor.node.inputs[0], kept.output) if factor.shape == tensor.shape else (None, None)


def _summed_axis(total: Tensor, share: Tensor) -> int | None:
    """The one axis along which `total` is the sum of `share`, and where it has one place."""
    summed = without_axes(_sum_in(without_axes(total))).node
    if summed.op != "sum" or len(summed.attrs["axis"]) != 1 or not are_same(summed.inputs[0], share):
        return None
    (axis,) = summed.attrs["axis"]
    return axis if total.shape == (*share.shape[:axis], 1, *share.shape[axis + 1 :]) else None


def _sum_in(total: Tensor) -> Tensor:
    """What a denominator is without what keeps it off 0. A small number that is added counts where the sum may be as
    small, as one of exponentials of distances; that of scores is not."""
    inner = without_axes(without_bound(total, adds=True))
    each = inner.node.inputs[0].node if inner.node.op == "sum" else None
    parts = [] if each is None else [each, *(tensor.node for tensor in each.inputs)]
    scores = [_are_scores(node.inputs[0]) for node in parts if node.op == "exp"]
    return without_bound(total, adds=bool(scores) and all(scores))


def _are_scores(x: Tensor) -> bool:
    """Whether numbers are what a layer makes, or have their largest subtracted: not all of a row are far below 0."""
    node = x.node
    while node.op in PASSED:
        computed = [tensor for tensor in node.inputs if not is_fixed(tensor) and tensor.dtype == "float32"]
        if node.op == "sub" and len(computed) == 2 and _made_by(computed[1]).op == "reduce_max":
            return True
        if len(computed) != 1:
            return False
        node = computed[0].node
    return node.op in SCORES


def _made_by(tensor: Tensor) -> Node:
    """The node that makes a tensor, whose gradient may be stopped after it."""
    return tensor.node.inputs[0].node if tensor.node.op == "stop_gradient" else tensor.node


def _without_largest(x: Tensor, axis: int) -> Tensor:
    """y, where x is y less its largest value along an axis, which a softmax does not see."""
    if x.node.op != "sub":
        return x
    y, largest = x.node.inputs
    node = _made_by(largest)
    is_largest = node.op == "reduce_max" and node.attrs["axis"] == [axis] and are_same(node.inputs[0], y)
    return y if is_largest and y.shape == x.shape else x


def _softmax(build: Builder, x: Tensor, axis: int) -> Tensor:
    """Along any axis but the batch."""
    perm = list(range(x.rank))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    y = build.transpose(x, perm)
    return build.transpose(build.add("softmax", y, shape=y.shape), perm)


def _shifted_exponential(tensor: Tensor, offset: float) -> Tensor | None:
    """x, where the tensor is exp(x) + offset."""
    fixed, y = fixed_and_other(tensor.node)
    number, op = scalar_of(fixed), tensor.node.op
    if op == "tf:Expm1":
        return tensor.node.inputs[0] if offset == -1.0 else None
    if number is None or y.node.op != "exp":
        return None
    is_sum = (op == "add" and number == offset) or (
        op == "sub" and fixed is tensor.node.inputs[1] and -number == offset
    )
    return y.node.inputs[0] if is_sum else None


def _subtracted_exponential(tensor: Tensor) -> Tensor | None:
    """x, where the tensor is 1 - exp(x)."""
    fixed, y = fixed_and_other(tensor.node)
    is_difference = tensor.node.op == "sub" and fixed is tensor.node.inputs[0] and scalar_of(fixed) == 1.0
    return y.node.inputs[0] if is_difference and y.node.op == "exp" else None


@rewrite("div")
def tanh_of_exponentials(match: Match) -> Tensor | None:
    """(exp(2x) - 1) / (exp(2x) + 1), (1 - exp(-2x)) / (1 + exp(-2x)), or (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    above, below = match.inputs
    total = _shifted_exponential(below, 1.0)
    for sign, z in ((1.0, _shifted_exponential(above, -1.0)), (-1.0, _subtracted_exponential(above))):
        if z is not None and total is not None and are_same(z, total):
            half = scaled(z, 2.0 * sign)
            half = match.add("mul", z, 0.5 * sign, shape=z.shape) if half is None else half
            return match.add("tanh", half, shape=match.shape)
    halves = scaled(above, 0.5), scaled(below, 0.5)
    above, below = halves if None not in halves else (above, below)
    if (above.node.op, below.node.op) != ("sub", "add"):
        return None
    pairs = list(zip(above.node.inputs, below.node.inputs, strict=True))
    if any(each.node.op != "exp" for pair in pairs for each in pair) or not all(are_same(*pair) for pair in pairs):
        return None
    x, opposite = (tensor.node.inputs[0] for tensor in above.node.inputs)
    inner = negated(opposite)
    return match.add("tanh", x, shape=match.shape) if inner is not None and are_same(inner, x) else None


@rewrite("div")
def sigmoid_of_exponential(match: Match) -> Tensor | None:
    """exp(x) / (1 + exp(x)), and y / (1 + exp(-x)) as y * sigmoid(x)."""
    y, total = match.inputs
    z = _shifted_exponential(total, 1.0)
    if z is None:
        return None
    if y.node.op == "exp" and are_same(y.node.inputs[0], z):
        return match.add("sigmoid", z, shape=match.shape)
    x = negated(z)
    gate = match.add("sigmoid", match.add("mul", z, -1.0, shape=z.shape) if x is None else x, shape=z.shape)
    return gate if scalar_of(y) == 1.0 and gate.shape == match.shape else match.add("mul", y, gate, shape=match.shape)


@rewrite("log", "tf:Log1p")
def softplus_of_exponential(match: Match) -> Tensor | None:
    """log(1 + exp(x)); of an x that is minus a size it is written well already."""
    (x,) = match.inputs
    z = x.node.inputs[0] if x.node.op == "exp" else None
    z = z if match.node.op == "tf:Log1p" else _shifted_exponential(x, 1.0)
    size = None if z is None else negated(z)
    return None if z is None or (size is not None and size.node.op == "abs") else match.add("tf:Softplus", z)


@rewrite("log")
def log_of_probabilities(match: Match) -> Tensor | None:
    """log(softmax(x)) and log(sigmoid(x)), also of those kept off 0: small probabilities have no code."""
    return _log(match, match.inputs[0])


def _log(build: Builder, p: Tensor) -> Tensor | None:
    """The logarithm of probabilities, from what they are made of; None of anything else."""
    node = p.node
    if node.op == "softmax":
        return build.add("log_softmax", *node.inputs, shape=p.shape)
    if node.op == "sigmoid":
        return build.add("mul", build.add("tf:Softplus", build.add("mul", *node.inputs, -1.0)), -1.0)
    if node.op == "transpose":
        inner = _log(build, node.inputs[0])
        return None if inner is None else build.transpose(inner, node.attrs["perm"])
    if node.op == "clamp" and node.attrs["low"] > 0.0:
        inner = _log(build, node.inputs[0])
        low, high = (math.log(node.attrs[end]) for end in ("low", "high"))
        return None if inner is None else build.add("clamp", inner, shape=p.shape, low=low, high=high)
    return _log_of_bounded(build, p)


def _log_of_bounded(build: Builder, p: Tensor) -> Tensor | None:
    """log(max(q, e)) = max(log(q), log(e)), so of min; and log(q + e) = log(q) + softplus(log(e) - log(q))."""
    op, (fixed, q) = p.node.op, fixed_and_other(p.node)
    bound = scalar_of(fixed) if op in ("minimum", "maximum", "add") and q is not None and q.shape == p.shape else None
    is_bound = bound is not None and 0.0 < bound <= (LARGEST_ADDED if op == "add" else 1.0)
    inner = _log(build, q) if is_bound else None
    if inner is None:
        return None
    if op != "add":
        return build.add(op, inner, math.log(bound), shape=p.shape)
    below = build.add("add", build.add("mul", inner, -1.0), math.log(bound), shape=p.shape)
    return build.add("add", inner, build.add("tf:Softplus", below), shape=p.shape)


@rewrite("log")
def log_of_sum_of_exponentials(match: Match) -> Tensor | None:
    """log(sum(exp(x))) with the largest x taken out, as `tf.reduce_logsumexp` has it."""
    total = match.inputs[0].node
    each = total.inputs[0].node if total.op == "sum" and len(total.attrs["axis"]) == 1 else None
    if each is None or each.op != "exp" or _is_at_most_0(each.inputs[0], total.attrs["axis"]):
        return None
    (x,), axes = each.inputs, total.attrs["axis"]
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    found = match.add("reduce_max", x, shape=kept, axis=axes, keepdims=True)
    largest = match.add("stop_gradient", found, shape=kept)
    rest = match.add("exp", match.add("sub", x, largest, shape=x.shape))
    summed = match.add("log", match.add("sum", rest, shape=match.shape, **total.attrs), shape=match.shape)
    return match.add("add", summed, match.reshape(largest, match.shape), shape=match.shape)


def _is_at_most_0(x: Tensor, axes: list[int]) -> bool:
    """Whether the largest x is taken out already, along some axes."""
    return x.node.op == "sub" and _without_largest(x, axes[0]) is not x


@rewrite("exp")
def exponential_of_log_softmax(match: Match) -> Tensor | None:
    """exp(log_softmax(x)) is softmax(x)."""
    node = match.inputs[0].node
    return match.add("softmax", *node.inputs) if node.op == "log_softmax" else None
