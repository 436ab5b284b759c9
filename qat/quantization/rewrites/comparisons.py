"""Comparisons of real numbers, brought to a size at which the integer kernel tells them apart.

LiteRT's kernel compares both operands in 256ths, as integers: numbers closer than that are equal, and a scale of 1
or more ends the process. Source: ComparisonQuantized, tflite/kernels/comparisons.cc.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.quantization.ir.graph import Graph, Node, Tensor, is_fixed
from qat.quantization.ir.interpret import run
from qat.quantization.ir.operations import COMPARISONS
from qat.quantization.rewrites.builder import Builder, constant_of

LEAST, MOST = 1.0, 64.0  # spans of 255 codes: a code is 1/256 and more, and far from 1
WANTED = 32.0


def scale_comparisons(graph: Graph, batches: Sequence[Sequence[NDArray]]) -> None:
    """a > b as k a > k b, with a power of two for k, where the operands' span asks for it.

    Args:
        graph: the canonical graph without ranges; changed in place.
        batches: calibration data, per batch an array [n, ...] for each input of the model.
    """
    compared = [node for node in graph.nodes_of(*COMPARISONS) if _is_between_numbers(node)]
    if not compared:
        return
    spans = _spans(graph, [tensor for node in compared for tensor in node.inputs], batches)
    made: dict[tuple[Tensor, float], Tensor] = {}
    for node in compared:
        span = max(spans[tensor] for tensor in node.inputs)
        if span > 0 and math.isfinite(span) and not LEAST <= span <= MOST:
            factor = 2.0 ** round(math.log2(WANTED / span))
            graph.record("scale_comparisons", node, node.op, ["mul", node.op])
            node.inputs = [_times(graph, node, tensor, factor, made) for tensor in node.inputs]
    graph.prune()
    graph.sort()


def _is_between_numbers(node: Node) -> bool:
    return all(tensor.dtype == "float32" and tensor.node.op != "variable" for tensor in node.inputs)


def _spans(graph: Graph, tensors: Sequence[Tensor], batches: Sequence[Sequence[NDArray]]) -> dict[Tensor, float]:
    """From the smallest to the largest value of each tensor, 0 among them."""
    return {tensor: high - low for tensor, (low, high) in find_min_max(graph, tensors, batches).items()}


def find_min_max(
    graph: Graph, tensors: Sequence[Tensor], batches: Sequence[Sequence[NDArray]]
) -> dict[Tensor, tuple[float, float]]:
    """The smallest and the largest value of each tensor, 0 among them.

    Args:
        graph: the canonical graph.
        tensors: real tensors of the graph, of any shapes.
        batches: calibration data: per batch one array [n, ...] per input, in the graph's order.

    Returns:
        (low, high) of each tensor, real numbers in its unit.
    """
    wanted = list(dict.fromkeys(tensors))

    @tf.function(autograph=False)
    def min_max(*inputs: tf.Tensor) -> tf.Tensor:
        values = run(graph, list(inputs), wanted)
        return tf.stack([tf.stack([-tf.reduce_min(v), tf.reduce_max(v)]) for v in values])

    seen = np.max([_on(min_max, batch) for batch in batches], axis=0)
    min_max = np.maximum(seen, 0.0) * [-1.0, 1.0]
    return {tensor: (low, high) for tensor, (low, high) in zip(wanted, min_max.tolist(), strict=True)}


def _on(function: tf.types.experimental.PolymorphicFunction, batch: Sequence[NDArray]) -> NDArray:
    tensors = [tf.constant(values) for values in batch]
    return function.get_concrete_function(*tensors)(*tensors).numpy()


def _times(graph: Graph, node: Node, x: Tensor, factor: float, made: dict[tuple[Tensor, float], Tensor]) -> Tensor:
    if (x, factor) not in made:
        build = Builder(graph, node)
        if is_fixed(x):
            made[x, factor] = build._tensor(factor * constant_of(x))
        else:
            made[x, factor] = build.add("mul", x, factor, shape=x.shape, dtype="float32")
        graph.insert_before(node, *build.nodes)
    return made[x, factor]
