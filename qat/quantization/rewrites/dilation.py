"""Dilated convolutions, which TensorFlow writes as SpaceToBatchND, a convolution, BatchToSpaceND; paddings; groups."""

from __future__ import annotations

from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.rewrites.builder import Builder, Match
from qat.quantization.rewrites.driver import rewrite


@rewrite("batch_to_space")
def dilated_convolution(match: Match) -> Tensor | None:
    """One convolution with dilations, and with SAME padding where that is what was padded."""
    convolution = _skip_reshape(match.inputs[0]).node
    if convolution.op not in ("conv2d", "depthwise_conv2d") or convolution.attrs["padding"] != "VALID":
        return None
    outer = _skip_reshape(convolution.inputs[0]).node
    if outer.op != "space_to_batch" or outer.attrs["block"] != match.attrs["block"]:
        return None
    return _merge(match, match.node, convolution, outer)


def _skip_reshape(tensor: Tensor) -> Tensor:
    return tensor.node.inputs[0] if tensor.node.op == "reshape" else tensor


def _merge(build: Builder, node: Node, convolution: Node, outer: Node) -> Tensor:
    x = outer.inputs[0]
    rates, pads = list(outer.attrs["block"]), list(outer.attrs["paddings"])
    pads = [[low - a, high - b] for (low, high), (a, b) in zip(pads, node.attrs["crops"], strict=True)]
    four = (*x.shape[:1], 1, *x.shape[1:]) if x.rank == 3 else x.shape
    rates, pads = [1] * (2 - len(rates)) + rates, [[0, 0]] * (2 - len(pads)) + pads
    window = convolution.weights["kernel"].value.shape[:2]
    padding = "SAME" if _is_same(window, rates, pads) else "VALID"
    shape = (*node.output.shape[:1], 1, *node.output.shape[1:]) if x.rank == 3 else node.output.shape
    x = build.reshape(x, four) if x.rank == 3 else x
    if padding == "VALID" and any(amount for pair in pads for amount in pair):
        sizes = [size + sum(pair) for size, pair in zip(four[1:3], pads, strict=True)]
        x = build.add("pad", x, shape=(four[0], *sizes, four[3]), paddings=[[0, 0], *pads, [0, 0]], value=0.0)
    y = build.add(convolution.op, x, shape=shape, strides=[1, 1], dilations=rates, padding=padding)
    y.node.weights, y.node.name = dict(convolution.weights), convolution.name
    return build.reshape(y, node.output.shape) if len(node.output.shape) == 3 else y


def _is_same(window: tuple[int, ...], rates: list[int], pads: list[list[int]]) -> bool:
    wanted = [_same_padding(1, size, 1, rate) for size, rate in zip(window, rates, strict=True)]
    return [list(pair) for pair in pads] == wanted


@rewrite("conv2d", "depthwise_conv2d")
def padding_before_convolution(match: Match) -> Tensor | None:
    """Zeros that are padded as SAME would pad them are no op of their own: Keras' networks write ZeroPadding2D so."""
    pad, attrs = match.inputs[0].node, match.attrs
    if pad.op != "pad" or attrs["padding"] != "VALID" or pad.attrs.get("value", 0.0) != 0.0:
        return None
    x, pads = pad.inputs[0], [list(pair) for pair in pad.attrs["paddings"]]
    window = match.node.weights["kernel"].value.shape[:2]
    if x.rank != 4 or pads[0] != [0, 0] or pads[3] != [0, 0] or None in x.shape[1:3]:
        return None
    wanted = [
        _same_padding(*each) for each in zip(x.shape[1:3], window, attrs["strides"], attrs["dilations"], strict=True)
    ]
    if pads[1:3] != wanted:
        return None
    match.node.inputs = [x, *match.inputs[1:]]
    match.node.attrs = attrs | {"padding": "SAME"}
    return match.node.output


@rewrite("conv2d")
def depthwise_of_groups(match: Match) -> Tensor | None:
    """Groups of one channel each are a depthwise convolution: its kernels are the faster ones, and TensorFlow has its
    gradient on a CPU (in ConvNeXt one op in place of a thousand)."""
    kernel, attrs, channels = match.node.weights["kernel"], match.attrs, match.inputs[0].shape[-1]
    height, width, of_group, outputs = kernel.value.shape
    is_plain = attrs["strides"] == [1, 1] or (len(set(attrs["strides"])) == 1 and attrs["dilations"] == [1, 1])
    if of_group != 1 or channels in (1, None) or not is_plain or attrs["padding"] == "EXPLICIT":
        return None
    match.node.op = "depthwise_conv2d"
    match.node.weights["kernel"] = kernel.reshape(height, width, channels, outputs // channels)
    return match.output


def _same_padding(size: int, window: int, stride: int, rate: int) -> list[int]:
    """Zeros before and after an axis."""
    total = max((-(-size // stride) - 1) * stride + (window - 1) * rate + 1 - size, 0)
    return [total // 2, total - total // 2]
