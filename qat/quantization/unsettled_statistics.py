"""Whether BatchNormalization's moving statistics are those of the data: else training and the file differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.quantization.ir.graph import Graph, Node
from qat.quantization.ir.interpret import linear_part, normalized, run_node, walk

ROWS = 32
FAR = 4.0  # times, of variances; of means, in standard deviations
SHARE = 0.5  # of the layers


def warn_of_unsettled(graph: Graph, batch: Sequence[NDArray]) -> list[str]:
    """Say where moving statistics are far from what the layers make of calibration rows.

    Args:
        graph: canonical.
        batch: arrays [n, ...] in `model.inputs` order.

    Returns:
        The layers whose statistics are far off, if these are half of all; else none.
    """
    nodes = [node for node in graph.nodes if "norm" in node.attrs and node.attrs["norm"]["acts"]]
    if not nodes:
        return []
    far = _far(graph, [tf.constant(values[:ROWS]) for values in batch], {id(node) for node in nodes})
    if len(far) < SHARE * len(nodes):
        return []
    named = ", ".join(repr(layer) for layer in far[:4])
    warnings.warn(
        f"the moving statistics of BatchNormalization are far from what {len(far)} of {len(nodes)} layers make of "
        f"the calibration rows ({named}{', …' if len(far) > 4 else ''}): the float model has hardly been trained, or "
        "on data prepared in another way. Ranges follow the batches in training; before that, model and file "
        "compute with the statistics as they are. Train the float model longer, or set quant.reestimate_bn=true",
        stacklevel=3,
    )
    return far


def _far(graph: Graph, inputs: list[tf.Tensor], watched: set[int]) -> list[str]:
    far = []

    def make(node: Node, given: list[tf.Tensor]) -> list[tf.Tensor]:
        if id(node) not in watched:
            return run_node(node, given)
        made = linear_part(node, given[0])
        if _is_far(node, made):
            far.append(node.layer or node.name)
        return [normalized(node, made)]

    for _ in walk(graph, inputs, make):
        pass
    return far


def _is_far(node: Node, made: tf.Tensor) -> bool:
    """Whether the node's moving statistics are far from those of what it made, before its normalization."""
    of_rows = tf.nn.moments(made, list(range(len(made.shape) - 1)))
    shown_mean, shown_variance = (np.asarray(each, np.float64) for each in of_rows)
    mean, variance = (np.asarray(node.weights[name].value, np.float64) for name in ("mean", "variance"))
    ratio = (shown_variance + 1e-12) / (variance + 1e-12)
    shift = np.abs(shown_mean - mean) / np.sqrt(np.maximum(variance, shown_variance) + 1e-12)
    return bool(np.median(np.maximum(ratio, 1 / ratio)) > FAR or np.median(shift) > FAR)
