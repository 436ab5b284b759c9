"""Pooling in a form that the converter takes, and whose rounding can be simulated.

TFLite's AVERAGE_POOL_2D keeps the scale of its input, and so meets a tie in one of every four 2x2 windows, where the
kernels (halves to even, halves away from zero) and FakeQuant (halves up) part. MEAN and DEPTHWISE_CONV_2D scale their
output freely: no ties, and a finer output.

A ReLU after a MAX_POOL_2D the converter fuses with it, and then refuses the two for their scales: it goes before the
pooling, where it fuses with a convolution.
"""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, Weight
from qat.quantization.ir.operations import RELUS
from qat.quantization.rewrites.builder import Match, only_reader
from qat.quantization.rewrites.driver import rewrite

LARGEST_WINDOW = 256  # positions; a larger window is left to the pooling kernel


def _padded(node: Node) -> bool:
    """Whether windows reach over the edge, where pooling counts fewer positions."""
    (height, width), attrs = node.inputs[0].shape[1:3], node.attrs
    if attrs["padding"] == "VALID":
        return False
    steps = zip((height, width), attrs["ksize"], attrs["strides"], strict=True)
    return any((-(-size // stride) - 1) * stride + window > size for size, window, stride in steps)


@rewrite("avg_pool")
def average_of_everything(match: Match) -> Tensor | None:
    """A window as large as the image is a mean."""
    x, window = match.inputs[0], list(match.attrs["ksize"])
    whole = list(x.shape[1:3]) == window and list(match.shape[1:3]) == [1, 1]
    return match.mean(x, [1, 2]) if whole else None


@rewrite("avg_pool")
def average_by_depthwise(match: Match) -> Tensor | None:
    """Windows without padding: a depthwise convolution whose kernel is the same everywhere."""
    window, strides = match.attrs["ksize"], match.attrs["strides"]
    if _padded(match.node) or np.prod(window) > LARGEST_WINDOW or strides[0] != strides[1]:
        return None
    attrs = {"strides": strides, "dilations": [1, 1], "padding": "VALID"}
    y = match.add("depthwise_conv2d", match.inputs[0], shape=match.shape, **attrs)
    kernel = np.full((*window, match.shape[-1], 1), 1.0 / np.prod(window))
    y.node.weights["kernel"] = Weight.constant(kernel)
    return y


@rewrite("max_pool")
def activation_before_max_pool(match: Match) -> Tensor | None:
    """The largest of what a ReLU makes is what it makes of the largest."""
    graph, x = match.graph, match.inputs[0]
    activation = only_reader(graph, match.output)
    while activation is not None and activation.op == "reshape":  # one-dimensional pooling has some
        activation = only_reader(graph, activation.output)
    if activation is None or activation.op not in RELUS:
        return None
    graph.replace(activation.output, activation.inputs[0])
    activation.inputs, activation.output.shape, match.node.inputs = [x], x.shape, [activation.output]
    graph.nodes.remove(activation)
    graph.insert_before(match.node, activation)
    return match.output
