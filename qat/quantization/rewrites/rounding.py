"""Rounding to integers, which is codes of scale 1, and the straight-through gradient that users give it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.typing import NDArray

from qat.errors import UnsupportedLayerError
from qat.quantization.ir.graph import Graph, Node, Tensor, is_fixed
from qat.quantization.ir.program import Program
from qat.quantization.rewrites.builder import Builder, Match
from qat.quantization.rewrites.comparisons import find_min_max
from qat.quantization.rewrites.driver import rewrite

STEPS = 255  # between the 256 integers that int8 has codes for


@rewrite("add", "sub")
def straight_through(match: Match) -> Tensor | None:
    """x + stop_gradient(y - x) is y with the gradient of x: so there are codes of y alone, and no sum that rounds."""
    estimator = _estimator(match.node)
    if estimator is None:
        return None
    value, source = estimator
    if is_fixed(value) or not value.shape == source.shape == match.shape:
        return None
    return with_gradient_of(match, value, source)


def with_gradient_of(build: Builder, value: Tensor, source: Tensor) -> Tensor:
    """A value with the gradient of another.

    Args:
        build: where the node is added.
        value: what is computed.
        source: what the whole gradient goes to, of the same shape.

    Returns:
        The value, of the same shape.
    """
    program = Program(results=[["in", 0]], dtypes=[build.graph.real]).to_json()
    return build.add(
        "custom_gradient", value, source, shape=value.shape, results=1, arguments=1, given=[True], program=program
    )


def _estimator(node: Node) -> tuple[Tensor, Tensor] | None:
    """y and x, where a sum or difference is y with the gradient of x; else None."""
    first, second = node.inputs
    for x, rest in ((first, second), (second, first)) if node.op == "add" else ((first, second),):
        stopped = _stopped(rest)
        if stopped is None:
            continue
        if stopped.node.op == "sub":
            y, same = stopped.node.inputs if node.op == "add" else stopped.node.inputs[::-1]
            if same is x:  # x + stop(y - x), x - stop(x - y)
                return y, x
        if node.op == "add" and x.node.op == "sub" and _stopped(x.node.inputs[1]) is x.node.inputs[0]:
            return stopped, x.node.inputs[0]  # x - stop(x) + stop(y)
    return None


def _stopped(tensor: Tensor) -> Tensor | None:
    """What a stop_gradient is applied to."""
    return tensor.node.inputs[0] if tensor.node.op == "stop_gradient" else None


def fit_integers(graph: Graph, batches: Sequence[Sequence[NDArray]], in_float: frozenset[str]) -> None:
    """Tell each rounding the lowest of the 256 integers that it has codes for, by its values on `batches`.

    Args:
        graph: the canonical graph without ranges, changed in place.
        batches: calibration data: per batch one array [n, ...] per input, in the graph's order.
        in_float: names of Keras layers that compute in float, whose roundings are left alone.

    Raises:
        UnsupportedLayerError: the values of a rounding take more integers than there are codes.
    """
    nodes = [node for node in graph.nodes_of("round") if (node.layer or node.name) not in in_float]
    min_max = find_min_max(graph, [node.output for node in nodes], batches) if nodes else {}
    wide = []
    for node in nodes:
        low, high = min_max[node.output]
        if high - low > STEPS:
            wide.append(_too_wide(node, low, high))
        node.attrs["low"] = _lowest(low, high)
    if wide:
        raise UnsupportedLayerError(
            f"int8 has codes for {STEPS + 1} integers, 0 among them:\n    " + "\n    ".join(wide), tuple(wide)
        )


def _lowest(low: float, high: float) -> float:
    """As many numbers are free below the values as above them; none are on the side of a sign that no value has."""
    if low >= 0 or high <= 0:
        return 0.0 if low >= 0 else float(-STEPS)
    return float(math.floor((low + high - STEPS) / 2))


def _too_wide(node: Node, low: float, high: float) -> str:
    return (
        f"layer {node.layer or node.name!r}: op Round: its values on the calibration data go from {low:g} to {high:g}; "
        "divide by more before rounding, clip (tf.clip_by_value) to fewer numbers, or leave the layer in float "
        "(quant.skip, with allow_float=True)"
    )
