"""LayerNormalization, GroupNormalization and BatchNormalization in ops that have an int8 kernel."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, Weight
from qat.quantization.ir.operations import LINEAR
from qat.quantization.rewrites.builder import (
    Builder,
    Match,
    fixed_and_other,
    negated,
    only_reader,
    scalar_of,
    without_bound,
)
from qat.quantization.rewrites.common_subexpressions import are_same
from qat.quantization.rewrites.driver import rewrite
from qat.quantization.rewrites.rounding import with_gradient_of

NORM = ("epsilon", "momentum", "acts", "fused")  # what a layer holds of its BatchNormalization
SMALLEST_SQUARE = 1e-12  # limit for a length that divides a vector, as tf.math.l2_normalize has it
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


def _is_mean_of(mean: Tensor, x: Tensor) -> bool:
    """Whether a tensor is the mean of x along some axes, which keep one place."""
    return mean.node.op == "mean" and mean.node.attrs["keepdims"] and are_same(mean.node.inputs[0], x)


@rewrite("sub")
def variance_of_squares(match: Match) -> Tensor | None:
    """mean(x^2) - mean(x)^2 is mean((x - mean(x))^2), which no rounding makes negative."""
    squares, square = match.inputs
    mean, x = _squared(square), _squared(squares.node.inputs[0]) if squares.node.op == "mean" else None
    if mean is None or x is None or mean.node.op != "mean" or not are_same(mean.node.inputs[0], x):
        return None
    if mean.node.attrs != squares.node.attrs:
        return None
    centred = match.add("sub", x, match.mean(x, mean.node.attrs["axis"]))
    return match.add("mean", match.add("mul", centred, centred), shape=match.shape, **mean.node.attrs)


def _squared(tensor: Tensor) -> Tensor | None:
    """x, where the tensor is x * x."""
    node = tensor.node
    is_square = node.op == "tf:Square" or (node.op == "mul" and node.inputs[0] is node.inputs[1])
    is_power = node.op == "tf:Pow" and scalar_of(node.inputs[1]) == 2.0
    return node.inputs[0] if is_square or is_power else None


@rewrite("sqrt")
def root_of_square(match: Match) -> Tensor | None:
    """sqrt(x * x) is |x|: the codes of squares are coarse."""
    x = _squared(match.inputs[0])
    return None if x is None else match.add("abs", x)


@rewrite("add", "sub")
def difference_before_product(match: Match) -> Tensor | None:
    """x a - mean(x) a is (x - mean(x)) a, also with + b: a normalization as `tf.nn.batch_normalization` writes it."""
    if match.node.op == "sub":
        return _factored(match, *match.inputs)
    for product, rest in (match.inputs, match.inputs[::-1]):
        if rest.node.op == "sub":
            offset, other = rest.node.inputs
            y = _factored(match, product, other)
            if y is not None:
                return match.add("add", y, offset, shape=match.shape)
        y = _factored(match, product, rest, negates=True)
        if y is not None:
            return y
    return None


def _factored(match: Match, product: Tensor, other: Tensor, negates: bool = False) -> Tensor | None:
    """(x - mean(x)) a, where the tensors are x a and mean(x) a; or -mean(x) a, if it is written so."""
    if (product.node.op, other.node.op) != ("mul", "mul") or product.shape != match.shape:
        return None
    for x, factor in (product.node.inputs, product.node.inputs[::-1]):
        for mean, same in (other.node.inputs, other.node.inputs[::-1]):
            mean = negated(mean) if negates else mean
            if mean is not None and _is_mean_of(mean, x) and are_same(factor, same):
                scale, root = fixed_and_other(factor.node) if factor.node.op == "mul" else (None, None)
                centred = match.add("sub", x, mean, shape=x.shape)
                if scale is None:
                    return match.add("mul", centred, factor, shape=match.shape)
                return match.add("mul", match.add("mul", centred, root, shape=match.shape), scale, shape=match.shape)
    return None


@rewrite("div")
def cosine(match: Match) -> Tensor | None:
    """sum(x y) / (|x| |y|) along the last axis is the sum of the products of the normalized two."""
    total, norms = match.inputs[0], without_bound(match.inputs[1], adds=False)
    if total.node.op != "sum" or norms.node.op != "mul" or total.node.inputs[0].node.op != "mul":
        return None
    pair, axes = total.node.inputs[0].node.inputs, total.node.attrs["axis"]
    roots = [_normed(tensor, axes) for tensor in norms.node.inputs]
    if None in roots or axes != [pair[0].rank - 1] or pair[0].shape != pair[1].shape or norms.shape != total.shape:
        return None
    if not any(are_same(roots[0], x) and are_same(roots[1], y) for x, y in (pair, pair[::-1])):
        return None
    sides = (match.add("l2_normalize", x, shape=x.shape, epsilon=SMALLEST_SQUARE) for x in pair)
    return match.add("sum", match.add("mul", *sides), shape=match.shape, **total.node.attrs)


def _normed(tensor: Tensor, axes: list[int]) -> Tensor | None:
    """x, where the tensor is the root of the sum of its squares along these axes."""
    node = tensor.node.inputs[0].node if tensor.node.op == "reshape" else tensor.node  # `tf.norm` drops the axis so
    total = node.inputs[0].node if node.op == "sqrt" else None
    return (
        _squared(total.inputs[0]) if total is not None and total.op == "sum" and total.attrs["axis"] == axes else None
    )


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
    return epsilon if _squared(total.node.inputs[0]) is x and total.node.attrs["keepdims"] else None


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
