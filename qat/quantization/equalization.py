"""Cross-layer equalization: channels of uneven size between two layers are made equal, the float function stays.

A tensor between layers has one scale for all channels, so a channel a hundred times smaller than its neighbour has a
hundredth of the codes. Where only ReLU, LeakyReLU, pooling, padding or reshaping stand between two linear layers,
channel i of the first may be divided by s_i and the second take it times s_i: relu(x / s) = relu(x) / s. With
s_i = sqrt(r1_i / r2_i) both layers have the same range sqrt(r1_i r2_i) in every channel (Nagel et al. 2019, section
4.1; r are the largest absolute kernel values, BatchNormalization folded). ReLU6 does not commute with a factor: pairs
with it in between stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qat.quantization.ir.graph import Graph, Node, Weight
from qat.quantization.ir.operations import LINEAR
from qat.quantization.kernels.quantized_kernel import norm_scale
from qat.quantization.rewrites.builder import only_reader
from qat.warning import warn

PASSES_FACTORS = frozenset({"relu", "leaky_relu", "max_pool", "avg_pool", "identity", "mean", "pad", "reshape"})
SWEEPS = 20  # over all pairs; a layer in the middle of a chain belongs to two
SETTLED = 1e-2  # largest change of a factor, as a share, that ends the sweeps
LARGEST_FACTOR = 1e4  # beyond it a channel is dead rather than small
DEAD = 1e-6  # share of the largest channel: what weight decay leaves of a channel that nothing uses


@dataclass(frozen=True)
class Pair:
    """`second` reads the output of `first`, each channel `repeats` times (where a map was flattened)."""

    first: Node
    second: Node
    repeats: int = 1

    def __str__(self) -> str:
        return f"{self.first.layer or self.first.name} -> {self.second.layer or self.second.name}"


def equalize(graph: Graph) -> list[Pair]:
    """Even out every pair of layers that can be; the graph's weights change, what it computes does not.

    Returns:
        The pairs. Warns where there is none.
    """
    pairs = find_pairs(graph)
    if not pairs:
        warn(
            "quant.equalization: no two layers of this model can be evened out: between them is an op that "
            "does not commute with a factor per channel (ReLU6, sigmoid, …), or a tensor that other layers read too",
        )
    for _ in range(SWEEPS):
        if max((_even_out(pair) for pair in pairs), default=0.0) < SETTLED:
            break
    return pairs


def equalize_uneven(graph: Graph, threshold: float) -> list[Pair]:
    """Even out only pairs whose channels differ more than `threshold` times, with a warning.

    Trained networks are at 2 to 3 (published MLPerf Tiny models); hundreds make a tensor's one scale useless for most
    of its channels.

    Args:
        graph: the canonical graph; its weights change, what it computes does not.
        threshold: factor between the largest and the smallest channel, 1 or more, as `unevenness` measures it.

    Returns:
        All pairs of linear nodes in the graph between which channels can be evened out.
    """
    pairs, largest = find_pairs(graph), {}
    for _ in range(SWEEPS):
        uneven_pairs = [pair for pair in pairs if unevenness(pair) > threshold]
        if not uneven_pairs:
            break
        for pair in uneven_pairs:
            largest[str(pair)] = max(unevenness(pair), largest.get(str(pair), 0.0))
            _even_out(pair)
    if largest:
        named = ", ".join(f"{pair} ({times:.0f} times)" for pair, times in list(largest.items())[:6])
        warn(
            f"channels of uneven size were evened out, the float function stays (quant.equalize_above={threshold:g}): "
            f"{named}{', …' if len(largest) > 6 else ''}",
        )
    return pairs


def unevenness(pair: Pair) -> float:
    """How many times the factors that would even a pair out differ: their 90th over their 10th percentile."""
    factors, dead = _factors(pair)
    low, high = np.quantile(factors[~dead], [0.1, 0.9]) if (~dead).any() else (1.0, 1.0)
    return float(high / low)


def find_pairs(graph: Graph) -> list[Pair]:
    """Pairs of linear layers with only `PASSES_FACTORS` between them, and no other consumer on the way.

    A clustered kernel takes no factors: each would add values to it; divided by them, it must have a normalization.
    """
    keys = Counter(weight.key for node in graph.nodes for weight in node.weights.values() if weight.key is not None)
    alone = [node for node in graph.nodes_of(*LINEAR) if all(keys[w.key] <= 1 for w in node.weights.values())]
    pairs = [pair for node in alone for pair in _pair_from(graph, node) if pair.second in alone]
    return [
        pair for pair in pairs if not pair.second.one_range and (not pair.first.one_range or "norm" in pair.first.attrs)
    ]


def _pair_from(graph: Graph, first: Node) -> Iterator[Pair]:
    tensor, channels, repeats = first.output, first.output.shape[-1], 1
    while True:
        node = only_reader(graph, tensor)
        if node is None:
            return
        if node.op in LINEAR:
            if node.inputs[0] is tensor and _input_channels(node) == channels * repeats:
                yield Pair(first, node, repeats)
            return
        if not _passes(node):
            return
        if node.op == "reshape" and node.output.shape[-1] != tensor.shape[-1]:
            repeats *= node.output.shape[-1] // channels
        tensor = node.output


def _passes(node: Node) -> bool:
    """Whether node(x * s) is node(x) * s for positive factors of the last axis."""
    if node.op not in PASSES_FACTORS or len(node.inputs) != 1:
        return False
    before, after = node.inputs[0].shape, node.output.shape
    if node.op == "mean":
        return len(before) - 1 not in [axis % len(before) for axis in node.attrs["axis"]]
    if node.op == "pad":
        return node.attrs.get("value", 0.0) == 0 and not np.any(node.attrs["paddings"][-1])
    if node.op == "reshape":
        flattens = len(after) == 2 and None not in before[1:] and after[-1] == int(np.prod(before[1:]))
        return before[-1] == after[-1] or flattens
    return True


def _input_channels(node: Node) -> int:
    kernel = node.weights["kernel"].value
    return {"dense": kernel.shape[0], "conv2d_transpose": kernel.shape[-1]}.get(node.op, kernel.shape[-2])


def output_ranges(node: Node) -> NDArray[np.float64]:
    """The largest absolute kernel value of each output channel, BatchNormalization folded: [channels]."""
    folded = np.abs(node.weights["kernel"].value * norm_scale(node))
    if node.op == "depthwise_conv2d":
        return folded.max(axis=(0, 1)).reshape(-1).astype(np.float64)
    axis = 2 if node.op == "conv2d_transpose" else folded.ndim - 1
    return folded.max(axis=tuple(i for i in range(folded.ndim) if i != axis)).astype(np.float64)


def input_ranges(node: Node) -> NDArray[np.float64]:
    """The largest absolute kernel value that each input channel meets, BatchNormalization folded: [channels]."""
    folded = np.abs(node.weights["kernel"].value * norm_scale(node))
    axis = {"dense": 0, "conv2d_transpose": 3}.get(node.op, 2)
    return folded.max(axis=tuple(i for i in range(folded.ndim) if i != axis)).astype(np.float64)


def _even_out(pair: Pair) -> float:
    """Set both layers' ranges equal, channel by channel; returns the largest change as a share."""
    factors, dead = _factors(pair)
    factors /= np.exp(np.mean(np.log(factors[~dead]))) if (~dead).any() else 1.0  # a factor for all changes nothing
    factors = np.where(dead, 1, np.clip(factors, 1 / LARGEST_FACTOR, LARGEST_FACTOR))
    divide_outputs(pair.first, factors)
    multiply_inputs(pair.second, np.tile(factors, pair.repeats))
    return float(np.max(np.abs(np.log(factors))))


def _factors(pair: Pair) -> tuple[NDArray, NDArray]:
    """sqrt(r1 / r2) of each channel between the two, and which of them are dead."""
    first, second = output_ranges(pair.first), input_ranges(pair.second).reshape(pair.repeats, -1).max(axis=0)
    dead = (first <= DEAD * first.max()) | (second <= DEAD * second.max())
    return np.sqrt(np.where(dead, 1, first) / np.where(dead, 1, second)), dead


def divide_outputs(node: Node, factors: NDArray) -> None:
    """Divide each output channel of a linear node by a factor: in BatchNormalization where there is one.

    Args:
        node: a node whose op is in `LINEAR`; its weights are exchanged.
        factors: what the channels are divided by, float [output channels], above 0.
    """
    if "norm" in node.attrs:
        node.weights.setdefault("gamma", Weight.constant(np.ones(len(factors))))
        names = [name for name in ("gamma", "beta") if name in node.weights]
    else:
        names = [name for name in ("kernel", "bias") if name in node.weights]
    for name in names:
        _scale(node, name, 1 / (_along_output_axis(node, factors) if name == "kernel" else factors))


def multiply_inputs(node: Node, factors: NDArray) -> None:
    """Multiply the kernel of a linear node, whose input channels were divided by these factors.

    Args:
        node: a node whose op is in `LINEAR`; its kernel is exchanged.
        factors: what the input channels were divided by, float [input channels], above 0.
    """
    factors_along = factors if node.op == "conv2d_transpose" else factors[:, None]
    _scale(node, "kernel", factors_along)


def _along_output_axis(node: Node, factors: NDArray) -> NDArray:
    if node.op == "depthwise_conv2d":
        return factors.reshape(node.weights["kernel"].value.shape[2:])
    return factors[:, None] if node.op == "conv2d_transpose" else factors


def _scale(node: Node, name: str, factors: NDArray) -> None:
    node.weights[name] = node.weights[name].multiply(factors.astype(np.float32))
