"""Whether BatchNormalization's moving statistics are those of the data; else training and the file differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.quantization.ir.graph import Graph, Node
from qat.quantization.ir.interpret import apply_norm, run_linear_part, run_node, walk

ROWS = 32
FAR = 4.0  # times, of variances; of means, in standard deviations
SHARE = 0.5  # of the layers


def warn_of_unsettled(graph: Graph, batch: Sequence[NDArray]) -> list[str]:
    """Warn where moving statistics are far from those of the layers' outputs on calibration rows.

    Args:
        graph: canonical, not quantized yet.
        batch: arrays [n, ...] in `model.inputs` order.

    Returns:
        The layers whose statistics are far off, if these are half of all; else none.
    """
    nodes = [node for node in graph.nodes if "norm" in node.attrs and node.attrs["norm"]["acts"]]
    if not nodes:
        return []
    unsettled = _unsettled_layers(graph, [tf.constant(values[:ROWS]) for values in batch], {id(node) for node in nodes})
    if len(unsettled) < SHARE * len(nodes):
        return []
    named = ", ".join(repr(layer) for layer in unsettled[:4])
    warnings.warn(
        f"the moving statistics of BatchNormalization are far from what {len(unsettled)} of {len(nodes)} layers have "
        f"on the calibration rows ({named}{', …' if len(unsettled) > 4 else ''}): the float model has hardly been "
        "trained, or on data prepared in another way. Ranges follow the batches in training; before that, model and "
        "file compute with the statistics as they are. Train the float model longer, or set quant.reestimate_bn=true",
        stacklevel=3,
    )
    return unsettled


def _unsettled_layers(graph: Graph, inputs: list[tf.Tensor], selected: set[int]) -> list[str]:
    unsettled = []

    def compute(node: Node, inputs_of_node: list[tf.Tensor]) -> list[tf.Tensor]:
        if id(node) not in selected:
            return run_node(node, inputs_of_node)
        outputs = run_linear_part(node, inputs_of_node[0])
        if _is_unsettled(node, outputs):
            unsettled.append(node.layer or node.name)
        return [apply_norm(node, outputs)]

    for _ in walk(graph, inputs, compute):
        pass
    return unsettled


def _is_unsettled(node: Node, outputs: tf.Tensor) -> bool:
    """Whether the node's moving statistics are far from those of its output before normalization."""
    statistics = tf.nn.moments(outputs, list(range(len(outputs.shape) - 1)))
    row_mean, row_variance = (np.asarray(each, np.float64) for each in statistics)
    mean, variance = (np.asarray(node.weights[name].value, np.float64) for name in ("mean", "variance"))
    ratio = (row_variance + 1e-12) / (variance + 1e-12)
    shift = np.abs(row_mean - mean) / np.sqrt(np.maximum(variance, row_variance) + 1e-12)
    return bool(np.median(np.maximum(ratio, 1 / ratio)) > FAR or np.median(shift) > FAR)
