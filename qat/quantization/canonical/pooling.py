"""Average pooling in a form whose rounding can be simulated.

TFLite's AVERAGE_POOL_2D keeps the scale of its input, and so meets a tie in one of every four 2x2 windows, where the
kernels (halves to even, halves away from zero) and FakeQuant (halves up) part. MEAN and DEPTHWISE_CONV_2D scale their
output freely: no ties, and a finer output.
"""

from __future__ import annotations

import numpy as np

from qat.quantization.canonical.building import Builder
from qat.quantization.canonical.graph import Graph, Node, Weight

LARGEST_WINDOW = 256  # positions; a larger window is left to the pooling kernel


def _padded(node: Node) -> bool:
    """Whether windows reach over the edge, where pooling counts fewer positions."""
    (height, width), attrs = node.inputs[0].shape[1:3], node.attrs
    if attrs["padding"] == "VALID":
        return False
    steps = zip((height, width), attrs["ksize"], attrs["strides"], strict=True)
    return any((-(-size // stride) - 1) * stride + window > size for size, window, stride in steps)


def average_of_everything(graph: Graph) -> None:
    """A window as large as the image is a mean."""
    for node in graph.of("avg_pool"):
        if list(node.inputs[0].shape[1:3]) == list(node.attrs["ksize"]) and list(node.output.shape[1:3]) == [1, 1]:
            build = Builder(graph, node)
            build.mean(node.inputs[0], [1, 2])
            build.replace()


def average_by_depthwise(graph: Graph) -> None:
    """Windows without padding: a depthwise convolution whose kernel is the same everywhere."""
    for node in graph.of("avg_pool"):
        window = node.attrs["ksize"]
        if _padded(node) or np.prod(window) > LARGEST_WINDOW or node.attrs["strides"][0] != node.attrs["strides"][1]:
            continue
        build = Builder(graph, node)
        attrs = {"strides": node.attrs["strides"], "dilations": [1, 1], "padding": "VALID"}
        y = build.add("depthwise_conv2d", node.inputs[0], shape=node.output.shape, **attrs)
        kernel = np.full((*window, node.output.shape[-1], 1), 1.0 / np.prod(window))
        y.node.weights["kernel"] = Weight.constant(kernel)
        build.replace()
