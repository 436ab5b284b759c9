"""LayerNormalization, GroupNormalization and BatchNormalization in ops that have an int8 kernel."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, Weight
from qat.quantization.rewrites.builder import LINEAR, Builder, Match, fixed_and_other, only_reader, scalar_of
from qat.quantization.rewrites.driver import rewrite
from qat.quantization.rewrites.rounding import with_gradient_of

NORM = ("epsilon", "momentum", "acts", "fused")  # what a layer is told of its BatchNormalization
BN_WEIGHTS = ("gamma", "beta", "mean", "variance")


def _normalized(build: Builder, x: Tensor, axes: list[int], epsilon: float, stopped: bool = False) -> Tensor:
    """`stopped`: as `tf.nn.moments` has it, no gradient of the variance goes through the mean. It would be 0, but in
    the gradient of a gradient it is not."""
    centred = build.add("sub", x, build.mean(x, axes))
    deviation = with_gradient_of(build, centred, x) if stopped else centred
    variance = build.mean(build.add("mul", deviation, deviation), axes)
    return build.add("mul", centred, build.add("rsqrt", build.add("add", variance, epsilon)))


def _scaled(build: Builder, x: Tensor, node: Node, shape: tuple[int, ...]) -> Tensor:
    for op, name in (("mul", "gamma"), ("add", "beta")):
        if name in node.weights:
            x = build.add(op, x, build.fixed(node.weights[name].reshape(*shape)))
    return x


@rewrite("layer_norm")
def layer_norm(match: Match) -> Tensor:
    """(x - mean) * rsqrt(var + eps) * gamma + beta, step by step (Ba et al. 2016)."""
    x = _normalized(match, match.inputs[0], match.attrs["axes"], match.attrs["epsilon"], match.attrs["stopped"])
    return _scaled(match, x, match.node, tuple(x.shape[axis] for axis in match.attrs["axes"]))


@rewrite("group_norm")
def group_norm(match: Match) -> Tensor:
    """As layer_norm, over the positions and the channels of a group (Wu & He 2018)."""
    x, groups = match.inputs[0], match.attrs["groups"]
    channels, positions = x.shape[-1], int(np.prod(x.shape[1:-1]))
    split = match.reshape(x, (None, positions, groups, channels // groups))
    normal = _normalized(match, split, [1, 3], match.attrs["epsilon"])
    return _scaled(match, match.reshape(normal, x.shape), match.node, (channels,))


@rewrite("mul")
def l2_normalize(match: Match) -> Tensor | None:
    """x * rsqrt(max(sum(x^2), epsilon)) over the last axis has a kernel of its own; Keras 3 bounds the root, and says
    min(rsqrt(sum(x^2)), limit)."""
    for x, root in (match.inputs, match.inputs[::-1]):
        epsilon = _epsilon_of_norm(x, root)
        if epsilon is not None:
            return match.add("l2_normalize", x, shape=x.shape, epsilon=epsilon)
    return None


def _epsilon_of_norm(x: Tensor, root: Tensor) -> float | None:
    epsilon, total = _bounded_operand(root)
    if epsilon is None or total.node.op != "sum" or total.node.attrs["axis"] != [x.rank - 1]:
        return None
    square = total.node.inputs[0].node
    is_square = (square.op == "tf:Square" and square.inputs[0] is x) or (square.op == "mul" and square.inputs == [x, x])
    return epsilon if is_square and total.node.attrs["keepdims"] else None


def _bounded_operand(root: Tensor) -> tuple[float, Tensor] | tuple[None, None]:
    """What an inverse root is taken of, and the least number that it counts as."""
    if root.node.op == "minimum":
        limit, inner = fixed_and_other(root.node)
        largest = scalar_of(limit)
        is_root = inner is not None and inner.node.op == "rsqrt"
        return (
            (largest**-2.0, inner.node.inputs[0]) if is_root and largest is not None and largest > 0 else (None, None)
        )
    if root.node.op == "rsqrt" and root.node.inputs[0].node.op == "maximum":
        bound, total = fixed_and_other(root.node.inputs[0].node)
        epsilon = scalar_of(bound)
        return (epsilon, total) if epsilon is not None else (None, None)
    return None, None


@rewrite("batch_norm")
def attach_batch_norm(match: Match) -> Tensor | None:
    """BatchNormalization right after a linear op becomes part of it: its scale folds into the kernel, per channel."""
    linear = match.inputs[0].node
    if linear.op not in LINEAR or "mean" in linear.weights or only_reader(match.graph, linear.output) is not match.node:
        return None
    _take_statistics(linear, match.node)
    return match.fuse_into(linear)


@rewrite("batch_norm")
def stand_alone_batch_norm(match: Match) -> Tensor:
    """BatchNormalization after anything else is carried by a 1x1 depthwise convolution with a kernel of ones."""
    x = match.inputs[0]
    flat = x if x.rank == 4 else match.reshape(x, _four_axes(x.shape))
    identity = depthwise_affine(match, flat, np.ones(x.shape[-1], np.float32))
    _take_statistics(identity, match.node)
    return identity.output if x.rank == 4 else match.reshape(identity.output, x.shape)


def _take_statistics(linear: Node, norm: Node) -> None:
    linear.weights |= {name: norm.weights[name] for name in BN_WEIGHTS if name in norm.weights}
    linear.attrs["norm"] = {"call": norm.attrs.get("call", 0)} | {name: norm.attrs[name] for name in NORM}


def _four_axes(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    return (None, 1, int(np.prod(shape[1:-1])) if len(shape) > 2 else 1, shape[-1])


def depthwise_affine(build: Builder, x: Tensor, scale: np.ndarray, offset: np.ndarray | None = None) -> Node:
    """scale * x + offset as a 1x1 depthwise convolution.

    Args:
        build: builder of the rewrite; the node is added to it.
        x: real tensor [N, height, width, channels].
        scale: factor of each channel, float [channels].
        offset: what is added to each channel, float [channels]; None for zeros.

    Returns:
        The convolution, whose output has the shape of `x`.
    """
    attrs = {"strides": [1, 1], "dilations": [1, 1], "padding": "VALID"}
    output = build.add("depthwise_conv2d", x, shape=x.shape, **attrs)
    output.node.weights["kernel"] = Weight.constant(np.reshape(scale, (1, 1, -1, 1)))
    if offset is not None:
        output.node.weights["bias"] = Weight.constant(offset)
    return output.node
