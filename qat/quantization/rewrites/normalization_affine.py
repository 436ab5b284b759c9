"""Scale and shift of a normalization in the dense layers that read it: two ops and two roundings less.

Source: gamma migration, Wei et al. 2022, "Outlier Suppression".
"""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.ir.operations import LINEAR
from qat.quantization.ir.preserved_kernels import repeated_values
from qat.quantization.rewrites.builder import Match, fixed_and_other, only_reader
from qat.quantization.rewrites.common_subexpressions import are_same
from qat.quantization.rewrites.driver import rewrite
from qat.quantization.rewrites.linear import is_channel_vector, uses_of_weights

MOST_NOISE = 1.5  # of the kernel's rounding, as a multiple of what it is with the scale left outside


@rewrite("add", "mul")
def affine_of_normalization(match: Match) -> Tensor | None:
    """(n * gamma + beta) K + b is n (gamma K) + (beta K + b), where a dense layer reads what is normalized.

    What else reads it, as the sum behind a normalization does, reads it as before. The shift first: then the scale is
    what is read. A scale whose largest entries would take the codes of the others in the kernels stays outside, and so
    do those of kernels of few bits, and of a clustered kernel, whose values would be as many as its entries.
    """
    fixed, x = fixed_and_other(match.node)
    if x is None or not _is_normalized(x, shifted=match.node.op == "add"):
        return None
    if match.shape != x.shape or not is_channel_vector(fixed, x.shape[-1]):
        return None
    vector = fixed.node.weights["value"].reshape(fixed.node.value.size).broadcast(x.shape[-1])
    readers = {node: _dense_behind(match.graph, match.output, node) for node in _readers(match.graph, match.output)}
    dense = list(dict.fromkeys(each for behind in readers.values() for each in behind or []))
    if not dense or (match.node.op == "mul" and not _may_scale(match.graph, dense, vector.value)):
        return None
    for node in dense:
        (_scale if match.node.op == "mul" else _shift)(node, vector)
    for node in (each for each, behind in readers.items() if behind):
        node.inputs = [x if each is match.output else each for each in node.inputs]
    return match.output


@rewrite("add")
def shift_of_normalization_past_sum(match: Match) -> Tensor | None:
    """(n + beta) + (x K + b) is n + (x K + (b + beta)): behind a transformer's sum the shift is the dense layer's."""
    graph, (fixed, x) = match.graph, fixed_and_other(match.node)
    total = only_reader(graph, match.output)
    if x is None or total is None or total.op != "add" or match.shape != x.shape or total.output.shape != x.shape:
        return None
    if not _is_normalized(x, shifted=True) or not is_channel_vector(fixed, x.shape[-1]):
        return None
    other = next((each for each in total.inputs if each is not match.output), None)
    if other is None or not _takes_a_bias(graph, other, total):
        return None
    moved = graph.make("add", f"{match.node.name}/bias", [other, fixed], shape=other.shape, layer=other.node.layer)
    graph.insert_after(other.node, moved)
    total.inputs = [x, moved.output]
    return match.output


def _takes_a_bias(graph: Graph, tensor: Tensor, reader: Node) -> bool:
    """Whether a tensor comes from a linear op, whose channels a reshape may keep, and one node alone reads it."""
    node = tensor.node
    if only_reader(graph, tensor) is not reader:
        return False
    if node.op == "reshape" and _keeps_channels(node):
        return _takes_a_bias(graph, node.inputs[0], node)
    unshared = node.op in LINEAR and uses_of_weights(graph)[node.weights["kernel"].key] < 2
    return unshared and "mean" not in node.weights


def _is_normalized(x: Tensor, shifted: bool) -> bool:
    """Whether a tensor is one over its deviation along the last axis; for a shift, less its mean, and maybe scaled."""
    if x.node.op != "mul" or x.rank < 1:
        return False
    if not shifted:
        return any(map(_is_inverse_deviation, x.node.inputs))
    fixed, other = fixed_and_other(x.node)
    return any(map(_is_centred, x.node.inputs)) if fixed is None else _is_normalized(other, shifted)


def _is_inverse_deviation(x: Tensor) -> bool:
    return x.node.op == "rsqrt" and x.shape[-1:] == (1,)


def _is_centred(x: Tensor) -> bool:
    if x.node.op != "sub":
        return False
    y, mean = x.node.inputs
    is_mean = mean.node.op == "mean" and mean.node.attrs["keepdims"] and are_same(mean.node.inputs[0], y)
    return is_mean and _axes(mean.node) == {y.rank - 1}


def _axes(mean: Node) -> set[int]:
    return {int(axis) % mean.inputs[0].rank for axis in np.ravel(mean.attrs["axis"])}


def _readers(graph: Graph, tensor: Tensor) -> list[Node]:
    return [node for node in (*graph.nodes, *graph.taps) if any(tensor is each for each in node.inputs)]


def _dense_behind(graph: Graph, source: Tensor, node: Node) -> list[Node] | None:
    """The dense layers whose kernel a factor and a sum of each channel of a tensor can go into.

    Args:
        graph: the graph that the tensor stands in.
        source: the tensor.
        node: reads it or what is moved of it: such a layer, or an op that leaves the last axis as it is, with such
            layers behind it alone.

    Returns:
        These layers; None where there is something else.
    """
    if node.op == "dense":
        return [node] if uses_of_weights(graph)[node.weights["kernel"].key] < 2 else None
    is_joined = node.op == "concat" and _is_made_of(node.output, source)
    if not (is_joined or _keeps_channels(node)) or any(each in node.outputs for each in graph.outputs):
        return None
    found: list[Node] = []
    for reader in (each for output in node.outputs for each in _readers(graph, output)):
        behind = _dense_behind(graph, source, reader)
        if behind is None:
            return None
        found += behind
    return found


def _is_made_of(tensor: Tensor, source: Tensor) -> bool:
    """Whether a tensor is parts of another, put together along other axes than the last, as a shift of windows is."""
    node = tensor.node
    if tensor is source:
        return True
    if node.op == "concat":
        along = node.attrs["axis"] % node.output.rank != node.output.rank - 1
        return along and all(_is_made_of(each, source) for each in node.inputs)
    return _keeps_channels(node) and _is_made_of(node.inputs[0], source)


def _keeps_channels(node: Node) -> bool:
    """Whether an op works on all channels alike, and a factor and a sum of each go through it."""
    if not node.inputs or node.inputs[0].rank <= 0:
        return False
    x, last = node.inputs[0], node.inputs[0].rank - 1
    if node.op == "reshape":
        return bool(node.output.shape) and node.output.shape[-1] == x.shape[-1]
    if node.op == "transpose":
        return node.attrs["perm"][-1] == last
    if node.op == "mean":
        return last not in _axes(node)
    if node.op == "split":
        return node.attrs["axis"] % (last + 1) != last
    return node.op == "strided_slice" and _leaves_last_axis(node.attrs, last)


def _leaves_last_axis(attrs: dict, last: int) -> bool:
    """Whether a slice with one entry for each axis takes the whole of the last one."""
    masks = [attrs.get(f"{name}_axis_mask", 0) for name in ("shrink", "new")] + [attrs.get("ellipsis_mask", 0)]
    plain = len(attrs["begin"]) <= last or (
        attrs["strides"][last] == 1 and attrs.get("begin_mask", 0) >> last & attrs.get("end_mask", 0) >> last & 1
    )
    return bool(plain) and not masks[1] and not masks[2] and not masks[0] >> last & 1


def _may_scale(graph: Graph, readers: list[Node], scale: np.ndarray) -> bool:
    """Whether 8 bits hold the kernels with the scale inside nearly as well, and no kernel is clustered."""
    clustered = any(repeated_values(node.weights["kernel"].value) is not None for node in readers)
    return not graph.few_bits and not clustered and _noise(readers, scale) <= MOST_NOISE


def _noise(readers: list[Node], scale: np.ndarray) -> float:
    """How much larger the kernels' rounding makes the error of an output with the scale inside than outside."""
    inside = outside = 0.0
    for node in readers:
        kernel = node.weights["kernel"].value.astype(np.float64)
        inside += len(scale) * np.sum(np.abs(kernel * scale[:, None]).max(axis=0) ** 2)
        outside += np.sum(scale.astype(np.float64) ** 2) * np.sum(np.abs(kernel).max(axis=0) ** 2)
    return inside / max(outside, 1e-30)


def _scale(node: Node, vector: Weight) -> None:
    node.weights["kernel"] = node.weights["kernel"].multiply(vector.reshape(len(vector.value), 1))


def _shift(node: Node, vector: Weight) -> None:
    kernel = node.weights["kernel"]
    shift = Weight.compute("batch_matmul", vector.reshape(1, len(vector.value)), kernel).reshape(kernel.value.shape[1])
    node.weights["bias"] = node.weights["bias"].add(shift) if "bias" in node.weights else shift
