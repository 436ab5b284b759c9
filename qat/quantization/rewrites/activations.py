"""Activations recognised in their ops, so that the file holds the one op that computes them in integers."""

from __future__ import annotations

import math
from collections.abc import Callable

from qat.quantization.ir.graph import Node, Tensor, Weight
from qat.quantization.rewrites.builder import Match, fixed_and_other, is_near, negated, scalar_of, scaled
from qat.quantization.rewrites.driver import rewrite

LARGEST_FACTOR = 256.0  # kernels cannot multiply by more where the result is clipped to about 1


def _added_to_one(tensor: Tensor, op: str) -> Tensor | None:
    """x, where `tensor` is 1 + op(x)."""
    fixed, y = fixed_and_other(tensor.node)
    is_sum = tensor.node.op == "add" and scalar_of(fixed) == 1.0
    return y.node.inputs[0] if is_sum and y.node.op == op else None


def _erf_gate(tensor: Tensor) -> Tensor | None:
    """x, where `tensor` is 1 + erf(x / sqrt 2), which TensorFlow also writes as erfc(-x / sqrt 2)."""
    if tensor.node.op == "tf:Erfc":
        y = tensor.node.inputs[0]
        return scaled(y, -math.sqrt(0.5)) or _negatedscaled(y)
    y = _added_to_one(tensor, "tf:Erf")
    return None if y is None else scaled(y, math.sqrt(0.5))


def _negatedscaled(tensor: Tensor) -> Tensor | None:
    """x, where `tensor` is (-x) * sqrt(1/2) or -(x * sqrt(1/2))."""
    halfway = scaled(tensor, math.sqrt(0.5))
    if halfway is not None:
        return negated(halfway)
    inner = negated(tensor)
    return None if inner is None else scaled(inner, math.sqrt(0.5))


def _gelu_input(node: Node, gate_of: Callable[[Tensor], Tensor | None]) -> Tensor | None:
    """x, where the node is x/2 * (1 + erf(x / sqrt 2)) in any order of its factors."""
    for left, right in (node.inputs, node.inputs[::-1]):
        gated = gate_of(right)
        if gated is not None and scaled(left, 0.5) is gated:
            return gated
        half = scaled(right, 0.5)
        if half is not None and gate_of(half) is left:
            return left
        if gated is None and is_near(scalar_of(left), 0.5) and right.node.op == "mul":
            for x, gate in (right.node.inputs, right.node.inputs[::-1]):
                if gate_of(gate) is x:
                    return x
    return None


def _tanh_gate(tensor: Tensor) -> Tensor | None:
    """x, where `tensor` is 1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))."""
    y = _added_to_one(tensor, "tanh")
    total = None if y is None else scaled(y, math.sqrt(2 / math.pi))
    if total is None or total.node.op != "add":
        return None
    for x, cubic in (total.node.inputs, total.node.inputs[::-1]):
        cube = scaled(cubic, 0.044715)
        if cube is not None and cube.node.op == "tf:Pow" and cube.node.inputs[0] is x:
            return x if scalar_of(cube.node.inputs[1]) == 3.0 else None
    return None


@rewrite("mul")
def gelu(match: Match) -> Tensor | None:
    """x * Phi(x), exact or by tanh (Hendrycks & Gimpel 2016), a LUT kernel in TFLite."""
    for approximate, gate in ((False, _erf_gate), (True, _tanh_gate)):
        x = _gelu_input(match.node, gate)
        if x is not None:
            return match.add("gelu", x, approximate=approximate)
    return None


def _halves(positive: Tensor, negative: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """x and the slope, where the tensors are relu(x) and slope * relu(-x)."""
    slope, folded = fixed_and_other(negative.node)
    if positive.node.op != "relu" or negative.node.op != "mul" or folded is None or folded.node.op != "relu":
        return None, None
    x = positive.node.inputs[0]
    return (x, slope) if negated(folded.node.inputs[0]) is x else (None, None)


@rewrite("add")
def prelu(match: Match) -> Tensor | None:
    """relu(x) - alpha * relu(-x), one alpha per channel (He et al. 2015)."""
    for pair in (match.inputs, match.inputs[::-1]):
        x, slope = _halves(*pair)
        if x is not None:
            alpha = match.fixed(Weight.compute("neg", slope.node.weights["value"]))
            return match.add("prelu", x, alpha, shape=match.shape)
    return None


@rewrite("sub")
def slope_relu(match: Match) -> Tensor | None:
    """relu(x) - a * relu(-x) with one constant slope, which Keras' ReLU(negative_slope=a) makes."""
    x, slope = _halves(*match.inputs)
    return None if scalar_of(slope) is None else match.add("leaky_relu", x, alpha=scalar_of(slope))


@rewrite("leaky_relu")
def relu_without_slope(match: Match) -> Tensor | None:
    """A leaky ReLU of slope 0 is a ReLU; its own kernel would have a factor of 0."""
    return match.add("relu", match.inputs[0]) if match.attrs["alpha"] == 0 else None


@rewrite("maximum")
def leaky_maximum(match: Match) -> Tensor | None:
    """max(x, a x) with 0 < a < 1 is a leaky ReLU."""
    for x, steep in (match.inputs, match.inputs[::-1]):
        fixed, other = fixed_and_other(steep.node)
        slope = scalar_of(fixed) if steep.node.op == "mul" and other is x else None
        if slope is not None and 0 < slope < 1:
            return match.add("leaky_relu", x, alpha=slope)
    return None


@rewrite("mul")
def relu_times_sixth(match: Match) -> Tensor | None:
    """x * relu6(x + 3) / 6: the gate is scaled first, so that each product stays in a quantized range."""
    sixth, product = fixed_and_other(match.node)
    if not is_near(scalar_of(sixth), 1 / 6) or product.node.op != "mul":
        return None
    gates = [tensor for tensor in product.node.inputs if tensor.node.op == "relu6"]
    if len(gates) != 1:
        return None
    other = next(tensor for tensor in product.node.inputs if tensor is not gates[0])
    return match.add("mul", other, match.add("mul", gates[0], 1 / 6))


@rewrite("clamp")
def clamp_before_factor(match: Match) -> Tensor | None:
    """clip(c x + d) of a large c, as of a steep step, is c clip(x) + d: kernels multiply by no more than some hundred,
    and what is clipped would be far beyond."""
    above, sums = match.inputs[0], 0.0
    fixed, inner = fixed_and_other(above.node)
    if above.node.op == "add" and scalar_of(fixed) is not None:
        above, sums = inner, scalar_of(fixed)
    fixed, x = fixed_and_other(above.node)
    factor = scalar_of(fixed) if above.node.op == "mul" else None
    low, high = match.attrs["low"] - sums, match.attrs["high"] - sums
    if factor is None or abs(factor) < LARGEST_FACTOR or not low <= 0.0 <= high or x.shape != match.shape:
        return None
    low, high = sorted((low / factor, high / factor))
    scaled = match.add("mul", match.add("clamp", x, low=low, high=high), factor)
    return match.add("add", scaled, sums) if sums else scaled
