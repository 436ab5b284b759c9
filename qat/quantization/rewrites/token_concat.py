"""Constants concatenated with activations of an open batch: class tokens in a concatenation."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.rewrites.builder import Builder, is_fixed


def token_concat(graph: Graph) -> None:
    """concat([token, x]) with one token for every sample is x, padded with zeros, plus the token in its place.

    CONCATENATION does not repeat a constant over the batch; PAD and ADD have integer kernels for any batch size.
    """
    for node in graph.nodes_of("concat"):
        fixed = [is_fixed(tensor) for tensor in node.inputs]
        live = [at for at, one in enumerate(fixed) if not one]
        if not any(fixed) or not live or node.output.shape[0] is not None or node.attrs["axis"] == 0:
            continue
        if live == list(range(live[0], live[-1] + 1)):
            _lower(graph, node, live)


def _lower(graph: Graph, node: Node, live: list[int]) -> None:
    axis, build = node.attrs["axis"], Builder(graph, node)
    sizes = [tensor.shape[axis] for tensor in node.inputs]
    before, after = sum(sizes[: live[0]]), sum(sizes[live[-1] + 1 :])
    x = node.inputs[live[0]]
    if len(live) > 1:
        shape = list(x.shape)
        shape[axis] = sum(sizes[at] for at in live)
        x = build.add("concat", *[node.inputs[at] for at in live], shape=shape, axis=axis)
    paddings = [[before, after] if at == axis else [0, 0] for at in range(x.rank)]
    padded = build.add("pad", x, shape=node.output.shape, paddings=paddings, value=0.0)
    build.add("add", padded, build.fixed(_block(node, live, x)), shape=node.output.shape)
    build.replace()


def _block(node: Node, live: list[int], x: Tensor) -> Weight:
    """The constants in their places, zeros where the activations stand: [1, ...]."""
    weights = [tensor.node.weights.get("value") for tensor in node.inputs]
    middle = Weight.constant(np.zeros([1, *x.shape[1:]]))
    parts = [*weights[: live[0]], middle, *weights[live[-1] + 1 :]]
    return Weight.compute("concat", *parts, axis=int(node.attrs["axis"]))
