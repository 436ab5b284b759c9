"""Whether BatchNormalization's moving statistics are those of the data: else training and the file differ."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.quantization.canonical.execute import WEIGHTED, run_node
from qat.quantization.canonical.graph import Graph, Node, Tensor

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
    normalized = [node for node in graph.nodes if "norm" in node.attrs and node.attrs["norm"]["acts"]]
    if not normalized:
        return []
    far = _far(graph, [tf.constant(values[:ROWS]) for values in batch], {id(node) for node in normalized})
    if len(far) < SHARE * len(normalized):
        return []
    named = ", ".join(repr(layer) for layer in far[:4])
    warnings.warn(
        f"the moving statistics of BatchNormalization are far from what {len(far)} of {len(normalized)} layers make of "
        f"the calibration rows ({named}{', …' if len(far) > 4 else ''}): the float model has hardly been trained, or "
        "on data prepared in another way. Ranges follow the batches in training; before that, model and file "
        "compute with the statistics as they are. Train the float model longer, or set quant.reestimate_bn=true",
        stacklevel=3,
    )
    return far


def _far(graph: Graph, inputs: list[tf.Tensor], normalized: set[int]) -> list[str]:
    values: dict[Tensor, tf.Tensor] = {node.output: value for node, value in zip(graph.inputs, inputs, strict=True)}
    last = {tensor: at for at, node in enumerate(graph.nodes) for tensor in node.inputs}
    far = []
    for at, node in enumerate(graph.nodes):
        if node.op != "input":
            given = [values[tensor] for tensor in node.inputs]
            if id(node) in normalized and _is_far(node, given[0]):
                far.append(node.layer or node.name)
            values.update(zip(node.outputs, run_node(node, given), strict=False))
        for tensor in node.inputs:
            if last[tensor] == at:
                values.pop(tensor, None)
    return far


def _is_far(node: Node, x: tf.Tensor) -> bool:
    weights = {n: tf.constant(node.weights[n].value, tf.float32) for n in ("kernel", "bias") if n in node.weights}
    made = WEIGHTED[node.op](x, weights, node.attrs).numpy()
    rows = made.reshape(-1, made.shape[-1]).astype(np.float64)
    mean, variance = (np.asarray(node.weights[name].value, np.float64) for name in ("mean", "variance"))
    ratio = (rows.var(axis=0) + 1e-12) / (variance + 1e-12)
    shift = np.abs(rows.mean(axis=0) - mean) / np.sqrt(np.maximum(variance, rows.var(axis=0)) + 1e-12)
    return bool(np.median(np.maximum(ratio, 1 / ratio)) > FAR or np.median(shift) > FAR)
