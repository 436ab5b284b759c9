"""LayerNormalization, GroupNormalization and BatchNormalization in ops that have an int8 kernel."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.rewrites.builder import LINEAR, Builder, only_reader, operand, scalar_of

NORM = ("epsilon", "momentum", "acts", "fused")
BN_WEIGHTS = ("gamma", "beta", "mean", "variance")


def _normalized(build: Builder, x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    centred = build.add("sub", x, build.mean(x, axes))
    variance = build.mean(build.add("mul", centred, centred), axes)
    return build.add("mul", centred, build.add("rsqrt", build.add("add", variance, epsilon)))


def _scaled(build: Builder, x: Tensor, node: Node, shape: tuple[int, ...]) -> Tensor:
    for op, name in (("mul", "gamma"), ("add", "beta")):
        if name in node.weights:
            x = build.add(op, x, build.fixed(node.weights[name].reshape(*shape)))
    return x


def layer_norm(graph: Graph) -> None:
    """(x - mean) * rsqrt(var + eps) * gamma + beta, step by step (Ba et al. 2016)."""
    for node in graph.nodes_of("layer_norm"):
        build = Builder(graph, node)
        x = _normalized(build, node.inputs[0], node.attrs["axes"], node.attrs["epsilon"])
        sizes = tuple(x.shape[axis] for axis in node.attrs["axes"])
        _scaled(build, x, node, sizes)
        build.replace()


def group_norm(graph: Graph) -> None:
    """As layer_norm, over the positions and the channels of a group (Wu & He 2018)."""
    for node in graph.nodes_of("group_norm"):
        build = Builder(graph, node)
        x, groups = node.inputs[0], node.attrs["groups"]
        channels, positions = x.shape[-1], int(np.prod(x.shape[1:-1]))
        split = build.reshape(x, (None, positions, groups, channels // groups))
        normal = _normalized(build, split, [1, 3], node.attrs["epsilon"])
        _scaled(build, build.reshape(normal, x.shape), node, (channels,))
        build.replace()


def l2_normalize(graph: Graph) -> None:
    """x * rsqrt(max(sum(x^2), epsilon)) over the last axis has a kernel of its own."""
    for node in graph.nodes_of("mul"):
        for x, root in (node.inputs, node.inputs[::-1]):
            epsilon = _epsilon_of_norm(x, root)
            if epsilon is not None and node in graph.nodes:
                build = Builder(graph, node)
                build.add("l2_normalize", x, shape=x.shape, epsilon=epsilon)
                build.replace()


def _epsilon_of_norm(x: Tensor, root: Tensor) -> float | None:
    if root.node.op != "rsqrt" or root.node.inputs[0].node.op != "maximum":
        return None
    bounded = root.node.inputs[0].node
    epsilon, total = operand(bounded, fixed=True), operand(bounded, fixed=False)
    if epsilon is None or total.node.op != "sum" or total.node.attrs["axis"] != [x.rank - 1]:
        return None
    square = total.node.inputs[0].node
    is_square = (square.op == "tf:Square" and square.inputs[0] is x) or (square.op == "mul" and square.inputs == [x, x])
    return scalar_of(epsilon) if is_square and total.node.attrs["keepdims"] else None


def attach_batch_norm(graph: Graph) -> None:
    """BatchNormalization right after a linear op becomes part of it: its scale folds into the kernel, per channel."""
    for node in graph.nodes_of("batch_norm"):
        linear = node.inputs[0].node
        if linear.op not in LINEAR or "mean" in linear.weights or only_reader(graph, linear.output) is not node:
            continue
        linear.weights |= {name: node.weights[name] for name in BN_WEIGHTS if name in node.weights}
        linear.attrs["norm"] = {name: node.attrs[name] for name in NORM}
        graph.fuse_into(linear, node)


def stand_alone_batch_norm(graph: Graph) -> None:
    """BatchNormalization after anything else is carried by a 1x1 depthwise convolution with a kernel of ones."""
    for node in graph.nodes_of("batch_norm"):
        build = Builder(graph, node)
        x = node.inputs[0]
        channels = x.shape[-1]
        flat = x if x.rank == 4 else build.reshape(x, _four_axes(x.shape))
        identity = depthwise_affine(build, flat, np.ones(channels, np.float32))
        identity.weights |= {name: node.weights[name] for name in BN_WEIGHTS if name in node.weights}
        identity.attrs["norm"] = {name: node.attrs[name] for name in NORM}
        if x.rank != 4:
            build.reshape(identity.output, x.shape)
        build.replace()


def _four_axes(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (None, 1, int(np.prod(shape[1:-1])) if len(shape) > 2 else 1, shape[-1])


def depthwise_affine(build: Builder, x: Tensor, scale: np.ndarray, offset: np.ndarray | None = None) -> Node:
    """scale * x + offset, one number per channel, as a 1x1 depthwise convolution."""
    attrs = {"strides": [1, 1], "dilations": [1, 1], "padding": "VALID"}
    output = build.add("depthwise_conv2d", x, shape=x.shape, **attrs)
    output.node.weights["kernel"] = Weight.constant(np.reshape(scale, (1, 1, -1, 1)))
    if offset is not None:
        output.node.weights["bias"] = Weight.constant(offset)
    return output.node
