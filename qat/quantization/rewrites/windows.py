"""Ops that look at neighbours along an axis, in convolutions, dense layers and slices."""

from __future__ import annotations

from typing import Any

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, Weight
from qat.quantization.rewrites.builder import Builder, Match, constant_of, fixed_and_other
from qat.quantization.rewrites.driver import rewrite

LARGEST_KERNEL = 512  # numbers in a patch whose kernel, which holds the square of that, is small next to a model
LONGEST_SUM = 1024  # places of a running sum: its kernel holds the square of that
ROOTS = {0.5: ("rsqrt",), 0.75: ("rsqrt", "sqrt"), 1.0: ("rsqrt", "rsqrt")}  # beta -> factors of sum^-beta


@rewrite("extract_patches")
def patches(match: Match) -> Tensor | None:
    """Patches of one pixel are the pixels. Side by side, as a vision transformer takes them, patches are a move of
    blocks into channels; small ones are a convolution whose kernel picks one number each, and large ones, as of
    attention to a halo, are gathered."""
    size, strides, x = match.attrs["ksize"], match.attrs["strides"], match.inputs[0]
    if size == strides == [1, 1]:
        return x
    side_by_side = size == strides and match.attrs["rates"] == [1, 1] and size[0] == size[1]
    if side_by_side and not any(places % size[0] for places in x.shape[1:3]):
        return match.add("space_to_depth", x, shape=match.shape, block_size=size[0])
    length = size[0] * size[1] * x.shape[-1]
    if length > LARGEST_KERNEL:
        return _gathered(match)
    attrs = {"strides": strides, "dilations": match.attrs["rates"], "padding": match.attrs["padding"]}
    y = match.add("conv2d", x, shape=match.shape, **attrs)
    y.node.weights["kernel"] = Weight.constant(np.eye(length, dtype=np.float32).reshape(*size, x.shape[-1], length))
    return y


def _gathered(match: Match) -> Tensor:
    """Patches by their rows, then by their columns, with zeros around the image where its padding is SAME."""
    size, x, channels = match.attrs["ksize"], match.inputs[0], match.inputs[0].shape[-1]
    spans = [(places - 1) * rate + 1 for places, rate in zip(size, match.attrs["rates"], strict=True)]
    starts = [np.arange(count) * stride for count, stride in zip(match.shape[1:3], match.attrs["strides"], strict=True)]
    missing = [max(int(at[-1]) + span - held, 0) for at, span, held in zip(starts, spans, x.shape[1:3], strict=True)]
    if any(missing):
        paddings = [[0, 0], *([places // 2, places - places // 2] for places in missing), [0, 0]]
        padded = (x.shape[0], *(held + more for held, more in zip(x.shape[1:3], missing, strict=True)), channels)
        x = match.add("pad", x, shape=padded, paddings=paddings, value=0.0)
    for axis, (at, places, rate) in enumerate(zip(starts, size, match.attrs["rates"], strict=True), 1):
        indices = (at[:, None] + np.arange(places) * rate).reshape(-1)
        shape = (*x.shape[:axis], len(indices), *x.shape[axis + 1 :])
        x = match.add("gather_constant", x, shape=shape, indices=indices.tolist(), axis=axis)
    rows, columns = match.shape[1:3]
    x = match.transpose(match.reshape(x, (x.shape[0], rows, size[0], columns, size[1], channels)), [0, 1, 3, 2, 4, 5])
    return match.reshape(x, match.shape)


def _refuse(node: Node, why: str) -> None:
    """Leave a node as it is, with the reason in its op, which the list of layers without a kernel names."""
    node.op = f"tf:{node.op} {why}"


@rewrite("local_response")
def local_response(match: Match) -> Tensor | None:
    """x * (bias + alpha * sum of squares of the neighbouring channels)^-beta, for the usual beta (Krizhevsky et al.
    2012): the sum is a 1x1 convolution, the power a product of roots."""
    factors = ROOTS.get(round(match.attrs["beta"], 6))
    if factors is None:
        return _refuse(match.node, f"with beta={match.attrs['beta']:g}")
    x = match.inputs[0]
    attrs = {"strides": [1, 1], "dilations": [1, 1], "padding": "VALID"}
    total = match.add("conv2d", match.add("mul", x, x), shape=x.shape, **attrs)
    channels, radius = x.shape[-1], match.attrs["radius"]
    band = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels))) <= radius
    total.node.weights["kernel"] = Weight.constant(band[None, None] * match.attrs["alpha"])
    total.node.weights["bias"] = Weight.constant(np.full(channels, match.attrs["bias"]))
    root = match.add("rsqrt", total)
    y = match.add("mul", x, root)
    if len(factors) == 1:
        return y
    return match.add("mul", y, root if factors[-1] == "rsqrt" else match.add("sqrt", root))


@rewrite("mul", "div")
def running_mean(match: Match) -> Tensor | None:
    """A cumulative sum over constants of its places, as over their count, is a dense layer as well: one range for sums
    of one place and of all would leave the first ones few codes."""
    fixed, total = fixed_and_other(match.node)
    numbers = constant_of(fixed)
    if numbers is None or total.node.op != "running_sum" or (match.node.op == "div" and fixed is match.inputs[0]):
        return None
    x, axis = total.node.inputs[0], total.node.attrs["axis"]
    shape, places = (1,) * (x.rank - numbers.ndim) + numbers.shape, [1] * x.rank
    places[axis] = x.shape[axis]
    if x.dtype != "float32" or not _is_summed(x, axis) or list(shape) != places:
        return None
    factors = numbers.reshape(-1) if match.node.op == "mul" else 1.0 / numbers.reshape(-1)
    return _summed(match, x, total.node.attrs, factors)


@rewrite("running_sum")
def running_sum(match: Match) -> Tensor | None:
    """A cumulative sum is a dense layer with a triangle of ones along its axis; of integers, as places of tokens, an op
    of its own."""
    x, axis = match.inputs[0], match.attrs["axis"]
    if x.shape[axis] is not None and x.dtype in ("int32", "int64"):
        return match.add("cumsum", x, shape=match.shape, dtype=x.dtype, **match.attrs)
    if not _is_summed(x, axis) or x.dtype != "float32":
        return _refuse(match.node, f"over the batch, or over more than {LONGEST_SUM} places")
    return _summed(match, x, match.attrs)


def _is_summed(x: Tensor, axis: int) -> bool:
    return x.shape[axis] is not None and x.shape[axis] <= LONGEST_SUM


def _summed(build: Builder, x: Tensor, attrs: dict[str, Any], factors: np.ndarray | float = 1.0) -> Tensor:
    """Sums of x up to each place of an axis, times the factor of that place."""
    axis, places = attrs["axis"], x.shape[attrs["axis"]]
    order = [a for a in range(x.rank) if a != axis] + [axis]
    turned = build.transpose(x, order)
    y = build.add("dense", turned, shape=turned.shape)
    kernel = np.triu(np.ones((places, places)), 1 if attrs["exclusive"] else 0)
    y.node.weights["kernel"] = Weight.constant((kernel.T if attrs["reverse"] else kernel) * factors)
    return build.transpose(y, [order.index(a) for a in range(x.rank)])


@rewrite("roll")
def roll(match: Match) -> Tensor | None:
    """What leaves at one end comes back at the other: two slices, joined the other way round."""
    x = match.inputs[0]
    if any(x.shape[axis] is None for axis in match.attrs["axis"]):
        return _refuse(match.node, "over the batch")
    for shift, axis in zip(match.attrs["shift"], match.attrs["axis"], strict=True):
        x = _rolled(match, x, shift % x.shape[axis], axis)
    return x


def _rolled(build: Builder, x: Tensor, shift: int, axis: int) -> Tensor:
    if shift == 0:
        return x
    cut = x.shape[axis] - shift
    parts = [part_of(build, x, axis, *ends) for ends in ((cut, x.shape[axis]), (0, cut))]
    return build.add("concat", *parts, shape=x.shape, axis=axis)


def part_of(build: Builder, x: Tensor, axis: int, begin: int, end: int) -> Tensor:
    """A slice along one axis.

    Args:
        build: builder of the rewrite; the node is added to it.
        x: the tensor to cut, of any shape.
        axis: axis along which it is cut, from 0.
        begin: first index on that axis, from 0.
        end: index after the last one, on that axis.

    Returns:
        The slice, of the shape of `x` with end - begin for that axis.
    """
    every = ((1 << x.rank) - 1) & ~(1 << axis)
    attrs = {"begin_mask": every, "end_mask": every, "shrink_axis_mask": 0, "new_axis_mask": 0}
    shape = tuple(end - begin if at == axis else size for at, size in enumerate(x.shape))
    starts, ends = ([number if at == axis else 0 for at in range(x.rank)] for number in (begin, end))
    return build.add("strided_slice", x, shape=shape, begin=starts, end=ends, strides=[1] * x.rank, **attrs)
