"""Convolutions and dense layers in one form: kernel, bias and BatchNormalization in one node, four axes or two."""

from __future__ import annotations

from collections import Counter

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.rewrites.builder import LINEAR, Builder, constant_of, is_fixed, only_reader, operand
from qat.quantization.rewrites.normalizations import depthwise_affine

CHANNELWISE = ("batch_norm", "relu", "relu6", "leaky_relu", "clamp")


def _keeps_channels(node: Node) -> bool:
    if node.op != "reshape":
        return False
    source, target = node.inputs[0].shape, node.output.shape
    return bool(source) and bool(target) and source[-1] == target[-1]


def _is_channel_vector(tensor: Tensor, channels: int | None) -> bool:
    shape = tensor.shape
    return is_fixed(tensor) and int(np.prod(shape)) in (1, channels) and all(s == 1 for s in shape[:-1])


def channelwise_before_reshape(graph: Graph) -> None:
    """BatchNormalization, bias and ReLU change places with a reshape that keeps channels (Conv1D, Dense on 3 axes)."""
    for node in list(graph.nodes):
        fixed = operand(node, fixed=True) if node.op in ("add", "mul") else None
        if node.op not in CHANNELWISE and fixed is None:
            continue
        x = node.inputs[0] if fixed is None else operand(node, fixed=False)
        reshape = x.node
        if not _keeps_channels(reshape) or only_reader(graph, x) is not node:
            continue
        if fixed is not None and not _is_channel_vector(fixed, x.shape[-1]):
            continue
        if reshape.inputs[0].node.op in ("input", "const") or node.output.shape != x.shape:
            continue
        _swap(graph, node, reshape, x)


def _swap(graph: Graph, node: Node, reshape: Node, x: Tensor) -> None:
    source = reshape.inputs[0]
    graph.replace(node.output, reshape.output, keep=[reshape])
    node.inputs = [source if tensor is x else tensor for tensor in node.inputs]
    node.output.shape = source.shape
    reshape.inputs = [node.output]
    graph.nodes.remove(reshape)
    graph.insert_after(node, reshape)


def _uses(graph: Graph) -> Counter:
    """How often each variable is read, by its key."""
    nodes = [tensor.node for node in graph.nodes for tensor in node.inputs if is_fixed(tensor)]
    nodes += [node for node in graph.nodes if node.op not in ("const", "variable")]
    keys = Counter(weight.key for node in nodes for weight in node.weights.values())
    del keys[None]
    return keys


def bias(graph: Graph) -> None:
    """A vector added to a linear op's channels is its bias; behind a layer that is called twice, a variable is."""
    uses = _uses(graph)
    for node in graph.nodes_of("add"):
        fixed = operand(node, fixed=True)
        if fixed is None:
            continue
        x = operand(node, fixed=False)
        linear = x.node
        if linear.op not in LINEAR or "mean" in linear.weights or only_reader(graph, x) is not node:
            continue
        weight = fixed.node.weights["value"]
        if not _is_channel_vector(fixed, x.shape[-1]) or node.output.shape != x.shape:
            continue
        if uses[linear.weights["kernel"].key] < 2 or (weight.key is not None and "bias" not in linear.weights):
            _add_bias(linear, weight, x.shape[-1])
            graph.fuse_into(linear, node)


def _add_bias(linear: Node, weight: Weight, channels: int) -> None:
    added = _along_channels(weight, channels)
    old = linear.weights.get("bias")
    linear.weights["bias"] = added if old is None else old.add(added)


def _along_channels(weight: Weight, channels: int) -> Weight:
    """One number per channel: [channels]."""
    return weight.reshape(weight.value.size).broadcast(channels)


def factor(graph: Graph) -> None:
    """A factor of a linear op's result, one number per channel or one for all, goes into its kernel: LayerScale
    (Touvron et al. 2021), scaled residuals.

    The kernel itself stays what it was, and is trained as it was: the factor is held as a BatchNormalization's that
    nothing moves. What layers or factors share stays as it is. What is added behind it stays, too: next to a small
    factor it would be beyond 32 bits on the bias' grid.
    """
    uses = _uses(graph)
    for node in graph.nodes_of("mul"):
        fixed = operand(node, fixed=True)
        x = operand(node, fixed=False) if fixed is not None else None
        if x is None or x.node.op not in LINEAR or only_reader(graph, x) is not node:
            continue
        linear, weight = x.node, fixed.node.weights["value"]
        if not _is_channel_vector(fixed, x.shape[-1]) or node.output.shape != x.shape:
            continue
        shared = max(uses[linear.weights["kernel"].key], uses[weight.key]) > 1
        if "mean" not in linear.weights and not shared:
            _multiply(linear, weight, x.shape[-1])
            graph.fuse_into(linear, node)


def _multiply(linear: Node, weight: Weight, channels: int) -> None:
    linear.weights["gamma"] = _along_channels(weight, channels)
    linear.weights |= {"mean": Weight.constant(np.zeros(channels)), "variance": Weight.constant(np.ones(channels))}
    linear.attrs["norm"] = {"epsilon": 0.0, "momentum": 1.0, "acts": False, "fused": False}


def bias_of_sum(graph: Graph) -> None:
    """A vector added to the sum of two linear ops (a recurrent cell) goes to the first: one rounding less."""
    for node in graph.nodes_of("add"):
        fixed = operand(node, fixed=True)
        total = operand(node, fixed=False).node if fixed is not None else None
        if total is None or total.op != "add" or only_reader(graph, total.output) is not node:
            continue
        if not _is_channel_vector(fixed, total.output.shape[-1]) or node.output.shape != total.output.shape:
            continue
        for at, tensor in enumerate(total.inputs):
            if tensor.node.op in LINEAR and only_reader(graph, tensor) is total:
                moved = graph.make(
                    "add", f"{node.name}/bias", [tensor, fixed], shape=tensor.shape, layer=tensor.node.layer
                )
                moved.time_step_key = node.time_step_key
                graph.nodes.remove(total)
                graph.insert_before(node, moved, total)
                total.inputs[at] = moved.output
                graph.bypass_to(node, total.output)
                break


def input_affine(graph: Graph) -> None:
    """Constant arithmetic on the model's input (Rescaling, Normalization): one depthwise affine, or nothing.

    A factor alone moves into the kernels of the linear ops that follow, so that the file's input scale carries it.
    """
    for entry in graph.inputs:
        if entry.output.dtype != "float32" or entry.output.rank != 4:
            continue
        chain = _affine_chain(graph, entry)
        if chain:
            _lower_affine(graph, entry, chain)


def _affine_chain(graph: Graph, entry: Node) -> list[Node]:
    chain: list[Node] = []
    tensor = entry.output
    while True:
        node = only_reader(graph, tensor)
        fixed = operand(node, fixed=True) if node is not None and node.op in ("add", "mul") else None
        if fixed is None or constant_of(fixed) is None or not _is_channel_vector(fixed, tensor.shape[-1]):
            return chain
        chain.append(node)
        tensor = node.output


def _lower_affine(graph: Graph, entry: Node, chain: list[Node]) -> None:
    channels = entry.output.shape[-1]
    scale, offset = np.ones(channels), np.zeros(channels)
    for node in chain:
        value = constant_of(operand(node, fixed=True)).astype(np.float64).reshape(-1)
        scale, offset = (scale * value, offset * value) if node.op == "mul" else (scale, offset + value)
    last = chain[-1]
    readers = [node for node in graph.nodes if any(tensor is last.output for tensor in node.inputs)]
    uses = _uses(graph)
    foldable = all(
        node.op == "conv2d" and node.inputs[0] is last.output and uses[node.weights["kernel"].key] < 2
        for node in readers
    )
    is_output = any(tensor is last.output for tensor in graph.outputs)
    if not offset.any() and foldable and readers and not is_output:
        for node in readers:
            node.weights["kernel"] = node.weights["kernel"].multiply(scale.astype(np.float32)[None, None, :, None])
        graph.replace(last.output, entry.output)
    else:
        build = Builder(graph, last)
        depthwise_affine(build, entry.output, scale.astype(np.float32), offset.astype(np.float32))
        build.replace()
    graph.prune()


def dense_on_two_axes(graph: Graph) -> None:
    """A dense layer on more axes works on rows: reshape, dense, reshape back."""
    for node in graph.nodes_of("dense"):
        x = node.inputs[0]
        if x.rank == 2:
            continue
        units = node.output.shape[-1]
        build = Builder(graph, node)
        y = build.add("dense", build.reshape(x, (None, x.shape[-1])), shape=(None, units))
        y.node.weights, y.node.name = node.weights, node.name
        build.reshape(y, node.output.shape)
        build.replace()


def elementwise_before_reshapes(graph: Graph) -> None:
    """reshape(a) + reshape(b) is reshape(a + b), as the converter has it: the scale stands behind the sum."""
    for node in graph.nodes_of("add", "sub", "mul"):
        first, second = (tensor.node for tensor in node.inputs)
        if first is second or first.op != "reshape" or second.op != "reshape":
            continue
        a, b = first.inputs[0], second.inputs[0]
        whole = first.output.shape == second.output.shape == node.output.shape and a.shape == b.shape
        if whole and all(only_reader(graph, tensor) is node for tensor in node.inputs):
            build = Builder(graph, node)
            y = build.add(node.op, a, b, shape=a.shape)
            build.reshape(y, node.output.shape)
            build.replace()


def merge_reshapes(graph: Graph) -> None:
    """A reshape of a reshape is one reshape."""
    for node in graph.nodes_of("reshape"):
        source = node.inputs[0].node
        if source.op == "reshape" and node.attrs["shape"].count(-1) <= 1:
            node.inputs = list(source.inputs)
    graph.prune()
