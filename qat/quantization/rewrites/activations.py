"""Activations recognised in their ops, so that the file holds the one op that computes them in integers."""

from __future__ import annotations

import math
from collections.abc import Callable

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.rewrites.builder import Builder, is_fixed, operand, scalar_of


def _near(value: float | None, wanted: float) -> bool:
    return value is not None and math.isclose(value, wanted, rel_tol=1e-5)


def _scaled(tensor: Tensor, factor: float) -> Tensor | None:
    """x, where `tensor` is factor * x."""
    node = tensor.node
    if node.op != "mul" or operand(node, fixed=True) is None:
        return None
    return operand(node, fixed=False) if _near(scalar_of(operand(node, fixed=True)), factor) else None


def _erf_gate(tensor: Tensor) -> Tensor | None:
    """x, where `tensor` is 1 + erf(x / sqrt 2), which TensorFlow also writes as erfc(-x / sqrt 2)."""
    node = tensor.node
    if node.op == "tf:Erfc":
        return _scaled(node.inputs[0], -math.sqrt(0.5)) or _negated_scaled(node.inputs[0])
    if node.op != "add" or operand(node, fixed=True) is None or scalar_of(operand(node, fixed=True)) != 1.0:
        return None
    inner = operand(node, fixed=False).node
    return _scaled(inner.inputs[0], math.sqrt(0.5)) if inner.op == "tf:Erf" else None


def _negated_scaled(tensor: Tensor) -> Tensor | None:
    """x, where `tensor` is (-x) * sqrt(1/2) or -(x * sqrt(1/2))."""
    halfway = _scaled(tensor, math.sqrt(0.5))
    if halfway is not None:
        return _negated(halfway)
    inner = _negated(tensor)
    return None if inner is None else _scaled(inner, math.sqrt(0.5))


def _gelu_input(node: Node, gate_of: Callable[[Tensor], Tensor | None]) -> Tensor | None:
    """x, where the node is x/2 * (1 + erf(x / sqrt 2)) in any order of its factors."""
    for left, right in (node.inputs, node.inputs[::-1]):
        gated = gate_of(right)
        if gated is not None and _scaled(left, 0.5) is gated:
            return gated
        if gated is None and _near(scalar_of(left), 0.5) and right.node.op == "mul":
            for x, gate in (right.node.inputs, right.node.inputs[::-1]):
                if gate_of(gate) is x:
                    return x
    return None


def _tanh_gate(tensor: Tensor) -> Tensor | None:
    """x, where `tensor` is 1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))."""
    node = tensor.node
    if node.op != "add" or operand(node, fixed=True) is None or scalar_of(operand(node, fixed=True)) != 1.0:
        return None
    inner = operand(node, fixed=False).node
    total = _scaled(inner.inputs[0], math.sqrt(2 / math.pi)) if inner.op == "tanh" else None
    if total is None or total.node.op != "add":
        return None
    for x, cubic in (total.node.inputs, total.node.inputs[::-1]):
        cube = _scaled(cubic, 0.044715)
        if cube is not None and cube.node.op == "tf:Pow" and cube.node.inputs[0] is x:
            return x
    return None


def gelu(graph: Graph) -> None:
    """x * Phi(x), exact or by tanh (Hendrycks & Gimpel 2016), a LUT kernel in TFLite."""
    for node in graph.nodes_of("mul"):
        for approximate, gate in ((False, _erf_gate), (True, _tanh_gate)):
            x = _gelu_input(node, gate) if node in graph.nodes else None
            if x is not None:
                build = Builder(graph, node)
                build.add("gelu", x, approximate=approximate)
                build.replace()


def _negated(tensor: Tensor) -> Tensor | None:
    if tensor.node.op == "neg":
        return tensor.node.inputs[0]
    return _scaled(tensor, -1.0)


def prelu(graph: Graph) -> None:
    """relu(x) - alpha * relu(-x), one alpha per channel (He et al. 2015)."""
    for node in graph.nodes_of("add"):
        for positive, negative in (node.inputs, node.inputs[::-1]):
            _try_prelu(graph, node, positive, negative)


def _try_prelu(graph: Graph, node: Node, positive: Tensor, negative: Tensor) -> None:
    if node not in graph.nodes or positive.node.op != "relu" or negative.node.op != "mul":
        return
    slope, folded = operand(negative.node, fixed=True), operand(negative.node, fixed=False)
    x = positive.node.inputs[0]
    if slope is None or folded.node.op != "relu" or _negated(folded.node.inputs[0]) is not x:
        return
    build = Builder(graph, node)
    alpha = build.fixed(Weight.compute("neg", slope.node.weights["value"]))
    build.add("prelu", x, alpha, shape=node.output.shape)
    build.replace()


def leaky_maximum(graph: Graph) -> None:
    """max(x, a x) with 0 < a < 1 is a leaky ReLU."""
    for node in graph.nodes_of("maximum"):
        for x, scaled in (node.inputs, node.inputs[::-1]):
            if is_fixed(x) or scaled.node.op != "mul" or operand(scaled.node, fixed=False) is not x:
                continue
            slope = scalar_of(operand(scaled.node, fixed=True))
            if slope is not None and 0 < slope < 1 and node in graph.nodes:
                build = Builder(graph, node)
                build.add("leaky_relu", x, alpha=slope)
                build.replace()


def slope_relu(graph: Graph) -> None:
    """relu(x) - a * relu(-x) with one constant slope, which Keras' ReLU(negative_slope=a) makes."""
    for node in graph.nodes_of("sub"):
        positive, scaled = node.inputs
        if positive.node.op != "relu" or scaled.node.op != "mul" or operand(scaled.node, fixed=True) is None:
            continue
        slope, folded = scalar_of(operand(scaled.node, fixed=True)), operand(scaled.node, fixed=False).node
        x = positive.node.inputs[0]
        if slope is not None and folded.op == "relu" and _negated(folded.inputs[0]) is x:
            build = Builder(graph, node)
            build.add("leaky_relu", x, alpha=slope)
            build.replace()


def relu_times_sixth(graph: Graph) -> None:
    """x * relu6(x + 3) / 6: the gate is scaled first, so that each product stays in a quantized range."""
    for node in graph.nodes_of("mul"):
        sixth = operand(node, fixed=True)
        if sixth is None or not _near(scalar_of(sixth), 1 / 6):
            continue
        product = operand(node, fixed=False).node
        if product.op != "mul" or len(product.inputs) != 2:
            continue
        gates = [tensor for tensor in product.inputs if tensor.node.op == "relu6"]
        if len(gates) == 1:
            other = next(tensor for tensor in product.inputs if tensor is not gates[0])
            build = Builder(graph, node)
            build.add("mul", other, build.add("mul", gates[0], 1 / 6))
            build.replace()
