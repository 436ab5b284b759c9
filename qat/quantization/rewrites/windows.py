"""Ops that look at neighbours along an axis, in convolutions, dense layers and slices."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.rewrites.builder import Builder

LARGEST_PATCH = 4096  # numbers in a patch: its kernel holds the square of that
LONGEST_SUM = 1024  # places of a running sum: its kernel holds the square of that
ROOTS = {0.5: ("rsqrt",), 0.75: ("rsqrt", "sqrt"), 1.0: ("rsqrt", "rsqrt")}  # beta -> factors of sum^-beta


def patches(graph: Graph) -> None:
    """Patches side by side, as a vision transformer takes them, are a move of blocks into channels; any others are a
    convolution whose kernel picks one number each."""
    for node in graph.nodes_of("extract_patches"):
        size, strides = node.attrs["ksize"], node.attrs["strides"]
        side_by_side = size == strides and node.attrs["rates"] == [1, 1] and size[0] == size[1]
        build = Builder(graph, node)
        x = node.inputs[0]
        if side_by_side and not any(places % size[0] for places in x.shape[1:3]):
            build.add("space_to_depth", x, shape=node.output.shape, block_size=size[0])
        elif (length := size[0] * size[1] * x.shape[-1]) <= LARGEST_PATCH:
            attrs = {"strides": strides, "dilations": node.attrs["rates"], "padding": node.attrs["padding"]}
            y = build.add("conv2d", x, shape=node.output.shape, **attrs)
            kernel = np.eye(length, dtype=np.float32).reshape(*size, x.shape[-1], length)
            y.node.weights["kernel"] = Weight.constant(kernel)
        build.replace() if build.nodes else _refuse(node, f"patches of more than {LARGEST_PATCH} numbers")


def _refuse(node: Node, why: str) -> None:
    node.op = f"tf:{node.op} {why}"


def local_response(graph: Graph) -> None:
    """x * (bias + alpha * sum of squares of the neighbouring channels)^-beta, for the usual beta (Krizhevsky et al.
    2012): the sum is a 1x1 convolution, the power a product of roots."""
    for node in graph.nodes_of("local_response"):
        factors = ROOTS.get(round(node.attrs["beta"], 6))
        if factors is None:
            _refuse(node, f"with beta={node.attrs['beta']:g}")
            continue
        x, build = node.inputs[0], Builder(graph, node)
        attrs = {"strides": [1, 1], "dilations": [1, 1], "padding": "VALID"}
        total = build.add("conv2d", build.add("mul", x, x), shape=x.shape, **attrs)
        channels, radius = x.shape[-1], node.attrs["radius"]
        band = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels))) <= radius
        total.node.weights["kernel"] = Weight.constant(band[None, None] * node.attrs["alpha"])
        total.node.weights["bias"] = Weight.constant(np.full(channels, node.attrs["bias"]))
        root = build.add("rsqrt", total)
        second = {"rsqrt": root, "sqrt": None}[factors[-1]] if len(factors) > 1 else None
        y = build.add("mul", x, root)
        if len(factors) > 1:
            build.add("mul", y, second or build.add("sqrt", root))
        build.replace()


def running_sum(graph: Graph) -> None:
    """A cumulative sum is a dense layer with a triangle of ones along its axis."""
    for node in graph.nodes_of("running_sum"):
        x, axis = node.inputs[0], node.attrs["axis"]
        places = x.shape[axis]
        if places is None or places > LONGEST_SUM or x.dtype != "float32":
            _refuse(node, "over the batch, over integers, or over more than 1024 places")
            continue
        build = Builder(graph, node)
        order = [a for a in range(x.rank) if a != axis] + [axis]
        turned = build.transpose(x, order)
        y = build.add("dense", turned, shape=turned.shape)
        kernel = np.triu(np.ones((places, places)), 1 if node.attrs["exclusive"] else 0)
        y.node.weights["kernel"] = Weight.constant(kernel.T if node.attrs["reverse"] else kernel)
        build.transpose(y, [order.index(a) for a in range(x.rank)])
        build.replace()


def roll(graph: Graph) -> None:
    """What leaves at one end comes back at the other: two slices, joined the other way round."""
    for node in graph.nodes_of("roll"):
        x, build = node.inputs[0], Builder(graph, node)
        if any(x.shape[axis] is None for axis in node.attrs["axis"]):
            _refuse(node, "over the batch")
            continue
        for shift, axis in zip(node.attrs["shift"], node.attrs["axis"], strict=True):
            x = _rolled(build, x, shift % x.shape[axis], axis)
        build.replace() if build.nodes else graph.bypass(node)


def _rolled(build: Builder, x: Tensor, shift: int, axis: int) -> Tensor:
    if shift == 0:
        return x
    cut = x.shape[axis] - shift
    parts = [part_of(build, x, axis, *ends) for ends in ((cut, x.shape[axis]), (0, cut))]
    return build.add("concat", *parts, shape=x.shape, axis=axis)


def part_of(build: Builder, x: Tensor, axis: int, begin: int, end: int) -> Tensor:
    """The places begin..end-1 along one axis."""
    every = ((1 << x.rank) - 1) & ~(1 << axis)
    attrs = {"begin_mask": every, "end_mask": every, "shrink_axis_mask": 0, "new_axis_mask": 0}
    shape = tuple(end - begin if at == axis else size for at, size in enumerate(x.shape))
    starts, ends = ([number if at == axis else 0 for at in range(x.rank)] for number in (begin, end))
    return build.add("strided_slice", x, shape=shape, begin=starts, end=ends, strides=[1] * x.rank, **attrs)
