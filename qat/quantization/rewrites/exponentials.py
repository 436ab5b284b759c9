"""Functions that are written by hand in exponentials, as the one op that they are.

In 8 bits the largest exponential would leave no code to the others.
"""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.rewrites.builder import Builder, Match, constant_of, fixed_and_other, negated, scalar_of, scaled
from qat.quantization.rewrites.common_subexpressions import are_same
from qat.quantization.rewrites.driver import rewrite

NEGLIGIBLE = 1e-6  # added to a sum of exponentials, so that none divides by 0


@rewrite("div", "mul", "tf:DivNoNan")
def softmax_of_exponentials(match: Match) -> Tensor | None:
    """exp(x) / sum(exp(x)), of which a condition or a constant of 0 and 1 may hide places behind the exponential."""
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
    summed = _without_bound(total).node
    if summed.op != "sum" or len(summed.attrs["axis"]) != 1 or not are_same(summed.inputs[0], share):
        return None
    (axis,) = summed.attrs["axis"]
    return axis if total.shape == (*share.shape[:axis], 1, *share.shape[axis + 1 :]) else None


def _without_bound(tensor: Tensor) -> Tensor:
    """What a tensor is computed from by new axes, and by what keeps it off 0."""
    node = tensor.node
    if node.op == "reshape" or (node.op == "strided_slice" and _adds_axes(node)):
        return _without_bound(node.inputs[0])
    fixed, rest = fixed_and_other(node)
    bound = scalar_of(fixed) if node.op in ("add", "maximum") else None
    return tensor if bound is None or not 0 <= bound <= NEGLIGIBLE else _without_bound(rest)


def _adds_axes(node: Node) -> bool:
    """Whether a slice, as x[..., None], leaves nothing out."""
    sizes = ([size for size in tensor.shape if size != 1] for tensor in (node.inputs[0], node.output))
    return set(node.attrs["strides"]) == {1} and len(set(map(tuple, sizes))) == 1


def _without_largest(x: Tensor, axis: int) -> Tensor:
    """y, where x is y less its largest value along an axis, which a softmax does not see."""
    if x.node.op != "sub":
        return x
    y, largest = x.node.inputs
    node = largest.node.inputs[0].node if largest.node.op == "stop_gradient" else largest.node
    is_largest = node.op == "reduce_max" and node.attrs["axis"] == [axis] and are_same(node.inputs[0], y)
    return y if is_largest and y.shape == x.shape else x


def _softmax(build: Builder, x: Tensor, axis: int) -> Tensor:
    """Along any axis but the batch."""
    perm = list(range(x.rank))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    y = build.transpose(x, perm)
    return build.transpose(build.add("softmax", y, shape=y.shape), perm)


def _behind_exponential(tensor: Tensor, offset: float) -> Tensor | None:
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


@rewrite("div")
def tanh_of_exponentials(match: Match) -> Tensor | None:
    """(exp(2x) - 1) / (exp(2x) + 1), or (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    above, below = match.inputs
    z = _behind_exponential(above, -1.0)
    total = _behind_exponential(below, 1.0)
    if z is not None and total is not None and are_same(z, total):
        half = scaled(z, 2.0)
        return match.add("tanh", match.add("mul", z, 0.5, shape=z.shape) if half is None else half, shape=match.shape)
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
    z = _behind_exponential(total, 1.0)
    if z is None:
        return None
    if y.node.op == "exp" and are_same(y.node.inputs[0], z):
        return match.add("sigmoid", z, shape=match.shape)
    x = negated(z)
    gate = match.add("sigmoid", match.add("mul", z, -1.0, shape=z.shape) if x is None else x, shape=z.shape)
    return gate if scalar_of(y) == 1.0 else match.add("mul", y, gate, shape=match.shape)


@rewrite("log", "tf:Log1p")
def softplus_of_exponential(match: Match) -> Tensor | None:
    """log(1 + exp(x)); of an x that is minus a size it is written well already."""
    (x,) = match.inputs
    z = x.node.inputs[0] if x.node.op == "exp" else None
    z = z if match.node.op == "tf:Log1p" else _behind_exponential(x, 1.0)
    size = None if z is None else negated(z)
    return None if z is None or (size is not None and size.node.op == "abs") else match.add("tf:Softplus", z)


@rewrite("log")
def log_of_probabilities(match: Match) -> Tensor | None:
    """log(softmax(x)) and log(sigmoid(x)): small probabilities have no code."""
    node = match.inputs[0].node
    if node.op == "softmax":
        return match.add("log_softmax", *node.inputs)
    if node.op != "sigmoid":
        return None
    return match.add("mul", match.add("tf:Softplus", match.add("mul", *node.inputs, -1.0)), -1.0)


@rewrite("exp")
def exponential_of_log_softmax(match: Match) -> Tensor | None:
    """exp(log_softmax(x)) is softmax(x)."""
    node = match.inputs[0].node
    return match.add("softmax", *node.inputs) if node.op == "log_softmax" else None
