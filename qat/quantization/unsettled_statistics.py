"""Whether BatchNormalization's moving statistics are those of the data; else training and the file differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.quantization.ir.graph import Graph, Node
from qat.quantization.ir.interpret import apply_norm, run_linear_part, run_node, walk
from qat.warning import warn

ROWS = 32
FAR = 4.0  # times, of variances; of means, in standard deviations
SHARE = 0.5  # share of the layers


class NormStatistics:
    """Compares moving statistics with those of the first rows that go through a graph, while something else runs it.

    Args:
        graph: canonical, not quantized yet.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = {id(node): node for node in graph.nodes if "norm" in node.attrs and node.attrs["norm"]["acts"]}
        self.found: dict[int, bool] = {}  # by node: whether it is unsettled

    def compute(self, node: Node, inputs: list[tf.Tensor], warm: bool = False) -> list[tf.Tensor]:
        """`run_node`; where a node with statistics is computed for the first time, they are compared.

        Args:
            node: a node of any op but `input`.
            inputs: values of its inputs, in order, of their shapes and dtypes.
            warm: whether an LSTM begins each sample with the state that the sample before it has left, as `run_node`
                takes it.

        Returns:
            Values of its outputs, in order, of their shapes and dtypes.
        """
        is_new = id(node) in self.nodes and id(node) not in self.found
        if not is_new or not tf.executing_eagerly():
            return run_node(node, inputs, warm)
        outputs = run_linear_part(node, inputs[0])
        self.found[id(node)] = _is_unsettled(node, outputs)
        return [apply_norm(node, outputs)]

    def warn(self, batch: Sequence[NDArray]) -> list[str]:
        """Warn where moving statistics are far from those of the layers' outputs on calibration rows.

        Args:
            batch: arrays [n, ...] in `model.inputs` order, for nodes that no run of the graph has shown.

        Returns:
            The layers whose statistics are far off, if these are half of all; else none.
        """
        if len(self.found) < len(self.nodes):
            rows = [tf.constant(values[:ROWS]) for values in batch]
            for _ in walk(self.graph, rows, self.compute):
                pass
        layers = {
            key: node.layer or node.name for key, node in self.nodes.items()
        }  # one that is called twice counts once
        unsettled, every = list(dict.fromkeys(layers[key] for key in layers if self.found[key])), set(layers.values())
        if not unsettled or len(unsettled) < SHARE * len(every):
            return []
        named = ", ".join(repr(layer) for layer in unsettled[:4])
        warn(
            f"the moving statistics of BatchNormalization are far from what {len(unsettled)} of {len(every)} "
            f"layers have on the calibration rows ({named}{', …' if len(unsettled) > 4 else ''}): the float model has "
            "hardly been trained, or on data prepared in another way. Ranges follow the batches in training; before "
            "that, model and file compute with the statistics as they are. Train the float model longer, or set "
            "quant.reestimate_bn=true",
        )
        return unsettled


def _is_unsettled(node: Node, outputs: tf.Tensor) -> bool:
    """Whether the node's moving statistics are far from those of its output before normalization."""
    statistics = tf.nn.moments(outputs, list(range(len(outputs.shape) - 1)))
    row_mean, row_variance = (np.asarray(each, np.float64) for each in statistics)
    mean, variance = (np.asarray(node.weights[name].value, np.float64) for name in ("mean", "variance"))
    ratio = (row_variance + 1e-12) / (variance + 1e-12)
    shift = np.abs(row_mean - mean) / np.sqrt(np.maximum(variance, row_variance) + 1e-12)
    return bool(np.median(np.maximum(ratio, 1 / ratio)) > FAR or np.median(shift) > FAR)
