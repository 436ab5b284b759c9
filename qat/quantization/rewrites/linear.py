"""Convolutions and dense layers in one form: kernel, bias and BatchNormalization in one node, four axes or two."""

from __future__ import annotations

from collections import Counter

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight, is_fixed
from qat.quantization.ir.operations import LINEAR
from qat.quantization.rewrites.builder import Match, constant_of, fixed_and_other, only_reader
from qat.quantization.rewrites.driver import rewrite
from qat.quantization.rewrites.normalizations import depthwise_affine

CHANNELWISE = ("batch_norm", "relu", "relu6", "leaky_relu", "clamp")


def _keeps_channels(node: Node) -> bool:
    if node.op != "reshape":
        return False
    source, target = node.inputs[0].shape, node.output.shape
    return bool(source) and bool(target) and source[-1] == target[-1]


def is_channel_vector(tensor: Tensor, channels: int | None) -> bool:
    shape = tensor.shape
    return is_fixed(tensor) and int(np.prod(shape)) in (1, channels) and all(s == 1 for s in shape[:-1])


@rewrite(*CHANNELWISE, "add", "mul")
def channelwise_before_reshape(match: Match) -> Tensor | None:
    """BatchNormalization, bias and ReLU change places with a reshape that keeps channels (Conv1D, Dense on 3 axes)."""
    fixed, x = fixed_and_other(match.node) if match.node.op in ("add", "mul") else (None, match.inputs[0])
    if x is None or not _keeps_channels(x.node) or only_reader(match.graph, x) is not match.node:
        return None
    reshape = x.node
    if fixed is not None and not is_channel_vector(fixed, x.shape[-1]):
        return None
    if reshape.inputs[0].node.op in ("input", "const") or match.shape != x.shape:
        return None
    _swap(match.graph, match.node, reshape, x)
    return match.output


def _swap(graph: Graph, node: Node, reshape: Node, x: Tensor) -> None:
    source = reshape.inputs[0]
    graph.replace(node.output, reshape.output, keep=[reshape])
    node.inputs = [source if tensor is x else tensor for tensor in node.inputs]
    node.output.shape = source.shape
    reshape.inputs = [node.output]
    graph.nodes.remove(reshape)
    graph.insert_after(node, reshape)


def uses_of_weights(graph: Graph) -> Counter:
    """How often each variable is read, by its key."""
    nodes = [tensor.node for node in graph.nodes for tensor in node.inputs if is_fixed(tensor)]
    nodes += [node for node in graph.nodes if node.op not in ("const", "variable")]
    keys = Counter(weight.key for node in nodes for weight in node.weights.values())
    del keys[None]
    return keys


def _linear_before(match: Match) -> tuple[Node | None, Weight | None]:
    """The linear op and the fixed vector, one number per channel, that the node joins, where it alone reads the op and
    no BatchNormalization stands between."""
    fixed, x = fixed_and_other(match.node)
    if x is None or x.node.op not in LINEAR or "mean" in x.node.weights:
        return None, None
    whole = is_channel_vector(fixed, x.shape[-1]) and match.shape == x.shape
    alone = only_reader(match.graph, x) is match.node
    return (x.node, fixed.node.weights["value"]) if whole and alone else (None, None)


@rewrite("add")
def bias(match: Match) -> Tensor | None:
    """A vector added to a linear op's channels is its bias; after a layer that is called twice, a variable is."""
    linear, weight = _linear_before(match)
    if linear is None or weight is None:
        return None
    is_first = weight.key is not None and "bias" not in linear.weights
    if not is_first and uses_of_weights(match.graph)[linear.weights["kernel"].key] > 1:
        return None
    added, old = _along_channels(weight, linear.output.shape[-1]), linear.weights.get("bias")
    linear.weights["bias"] = added if old is None else old.add(added)
    return match.fuse_into(linear)


def _along_channels(weight: Weight, channels: int) -> Weight:
    """One number per channel: [channels]."""
    return weight.reshape(weight.value.size).broadcast(channels)


@rewrite("mul")
def factor(match: Match) -> Tensor | None:
    """A factor of a linear op's result, one number per channel or one for all, goes into its kernel:
    LayerScale (Touvron et al. 2021), scaled residuals.

    The kernel itself stays what it was, and is trained as it was: the factor is held as a BatchNormalization's that
    nothing moves. What layers or factors share stays as it is. What is added after it stays, too: next to a small
    factor it would be beyond 32 bits on the bias' grid.
    """
    linear, weight = _linear_before(match)
    if linear is None or weight is None:
        return None
    uses, channels = uses_of_weights(match.graph), linear.output.shape[-1]
    if max(uses[linear.weights["kernel"].key], uses[weight.key]) > 1:
        return None
    linear.weights["gamma"] = _along_channels(weight, channels)
    linear.weights |= {"mean": Weight.constant(np.zeros(channels)), "variance": Weight.constant(np.ones(channels))}
    linear.attrs["norm"] = {"epsilon": 0.0, "momentum": 1.0, "acts": False, "fused": False}
    return match.fuse_into(linear)


@rewrite("add")
def bias_of_sum(match: Match) -> Tensor | None:
    """A vector added to the sum of two linear ops (a recurrent cell) goes to the first: one rounding less."""
    graph, (fixed, x) = match.graph, fixed_and_other(match.node)
    total = x.node if x is not None else None
    if total is None or total.op != "add" or only_reader(graph, total.output) is not match.node:
        return None
    if any(map(is_fixed, total.inputs)):  # two vectors one after the other, which `bias` takes
        return None
    if not is_channel_vector(fixed, total.output.shape[-1]) or match.shape != total.output.shape:
        return None
    for at, tensor in enumerate(total.inputs):
        if tensor.node.op in LINEAR and only_reader(graph, tensor) is total:
            moved = graph.make(
                "add", f"{match.node.name}/bias", [tensor, fixed], shape=tensor.shape, layer=tensor.node.layer
            )
            moved.time_step_key = match.node.time_step_key
            graph.nodes.remove(total)
            total.inputs[at] = moved.output
            match.nodes = [moved, total]
            return total.output
    return None


@rewrite("input")
def input_affine(match: Match) -> Tensor | None:
    """Constant arithmetic on the model's input (Rescaling, Normalization): one depthwise affine, or nothing.

    A factor alone moves into the kernels of the linear ops that follow, so that the file's input scale carries it.
    """
    chain = _affine_chain(match.graph, match.node) if match.output.dtype == "float32" and match.output.rank == 4 else []
    if not chain:
        return None
    _lower_affine(match.graph, match.node, chain)
    return match.output


def _affine_chain(graph: Graph, source: Node) -> list[Node]:
    chain: list[Node] = []
    tensor = source.output
    while True:
        node = only_reader(graph, tensor)
        fixed = fixed_and_other(node)[0] if node is not None and node.op in ("add", "mul") else None
        if fixed is None or constant_of(fixed) is None or not is_channel_vector(fixed, tensor.shape[-1]):
            return chain
        chain.append(node)
        tensor = node.output


def _lower_affine(graph: Graph, source: Node, chain: list[Node]) -> None:
    channels = source.output.shape[-1]
    scale, offset = np.ones(channels), np.zeros(channels)
    for node in chain:
        value = constant_of(fixed_and_other(node)[0]).astype(np.float64).reshape(-1)
        scale, offset = (scale * value, offset * value) if node.op == "mul" else (scale, offset + value)
    last = chain[-1]
    readers = [node for node in graph.nodes if any(tensor is last.output for tensor in node.inputs)]
    uses = uses_of_weights(graph)
    foldable = all(
        node.op == "conv2d" and node.inputs[0] is last.output and uses[node.weights["kernel"].key] < 2
        for node in readers
    )
    is_output = any(tensor is last.output for tensor in graph.outputs)
    if not offset.any() and foldable and readers and not is_output:
        for node in readers:
            node.weights["kernel"] = node.weights["kernel"].multiply(scale.astype(np.float32)[None, None, :, None])
        graph.replace(last.output, source.output)
    else:
        build = Match(graph, last)
        affine = depthwise_affine(build, source.output, scale.astype(np.float32), offset.astype(np.float32))
        graph.substitute(last, build.nodes, affine.outputs)


@rewrite("dense")
def dense_on_two_axes(match: Match) -> Tensor | None:
    """A dense layer on more axes works on rows: reshape, dense, reshape back."""
    x, units = match.inputs[0], match.shape[-1]
    if x.rank == 2:
        return None
    y = match.add("dense", match.reshape(x, (None, x.shape[-1])), shape=(None, units))
    y.node.weights, y.node.name = match.node.weights, match.node.name
    return match.reshape(y, match.shape)


@rewrite("add", "sub", "mul")
def elementwise_before_reshapes(match: Match) -> Tensor | None:
    """reshape(a) + reshape(b) is reshape(a + b), as the converter has it: the scale stands after the sum."""
    first, second = (tensor.node for tensor in match.inputs)
    if first is second or first.op != "reshape" or second.op != "reshape":
        return None
    a, b = first.inputs[0], second.inputs[0]
    whole = first.output.shape == second.output.shape == match.shape and a.shape == b.shape
    if not whole or any(only_reader(match.graph, tensor) is not match.node for tensor in match.inputs):
        return None
    return match.reshape(match.add(match.node.op, a, b, shape=a.shape), match.shape)


@rewrite("reshape")
def merge_reshapes(match: Match) -> Tensor | None:
    """A reshape of a reshape is one reshape."""
    source = match.inputs[0].node
    if source.op != "reshape" or match.attrs["shape"].count(-1) > 1:
        return None
    match.node.inputs = list(source.inputs)
    return match.output
