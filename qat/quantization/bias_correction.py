"""Bias correction: what rounding and saturation add to a channel's mean is subtracted from its bias.

Layer by layer in the order of the graph, on calibration data: the mean output of each linear layer, computed after
quantized layers, is brought to that of the float model (Nagel et al. 2019, section 4.2, with data in the place of its
assumptions on the distribution).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.config import QuantConfig
from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.ir.interpret import run_node
from qat.quantization.ir.operations import LINEAR
from qat.quantization.kernels.quantized_kernel import QUANTIZED_OPS, quantize_kernel
from qat.quantization.placement import MinMax, QuantSpec

MEMORY_BYTES = 1 << 30  # for the activations of both models; more samples than fit are left out
LIVE_TENSORS = 8  # how many of the largest size live at one time, in both models together

Values = list[tf.Tensor]  # one per batch


def correct_biases(
    graph: Graph,
    min_max: Mapping[QuantSpec, MinMax],
    batches: Sequence[Sequence[NDArray]],
    config: QuantConfig,
) -> dict[str, float]:
    """Correct the biases of a placed graph in place.

    Args:
        graph: the canonical graph with its ranges placed.
        min_max: (min, max) of each range as calibrated, real numbers in the tensor's unit.
        batches: calibration data, arrays [n, ...] in `model.inputs` order.
        config: settings that say the bits and the granularity of the weights.

    Returns:
        The largest absolute correction of each corrected layer, by its Keras name, in the unit of its output.
    """
    used = _batches_that_fit(graph, batches)
    pair = _FloatAndQuantized(graph, min_max, config, used)
    for node in graph.nodes:
        if node.op != "input":
            pair.run(node)
    return pair.corrections


class _FloatAndQuantized:
    """The float graph and the quantized one, run tensor by tensor over all batches."""

    def __init__(
        self,
        graph: Graph,
        min_max: Mapping[QuantSpec, MinMax],
        config: QuantConfig,
        batches: Sequence[Sequence[NDArray]],
    ) -> None:
        self.min_max, self.config, self.count = min_max, config, len(batches)
        self.real: dict[Tensor, Values] = {}
        self.quantized: dict[Tensor, Values] = {}
        self.corrections: dict[str, float] = {}
        self.read_counts = Counter(tensor for node in graph.nodes for tensor in node.inputs)
        keys = Counter(w.key for node in graph.nodes for w in node.weights.values() if w.key is not None)
        self.shared = {key for key, uses in keys.items() if uses > 1}
        for index, entry in enumerate(graph.inputs):
            values = [tf.constant(batch[index]) for batch in batches]
            self.real[entry.output] = self.quantized[entry.output] = values

    def run(self, node: Node) -> None:
        """Compute a node in both graphs, and correct its bias if it has one."""
        outputs = [run_node(node, [self.real[t][batch] for t in node.inputs]) for batch in range(self.count)]
        quantized = [self._run_quantized(node, batch) for batch in range(self.count)]
        if node.op in LINEAR and not node.in_float and not self._is_shared(node):
            shift = _channel_means([o[0] for o in outputs]) - _channel_means([o[0] for o in quantized])
            add_to_bias(node, shift)
            self.corrections[node.layer or node.name] = float(np.max(np.abs(shift)))
            quantized = [[values[0] + tf.constant(shift, tf.float32)] for values in quantized]
        for index, tensor in enumerate(node.outputs):
            self.real[tensor] = [each[index] for each in outputs]
            self.quantized[tensor] = [each[index] for each in quantized]
        self._release(node)

    def _run_quantized(self, node: Node, batch: int) -> list[tf.Tensor]:
        inputs = [self.quantized[tensor][batch] for tensor in node.inputs]
        if node.op == "fake_quant":
            low, high = self.min_max[node.attrs["quant_spec"].root()]
            return [tf.quantization.fake_quant_with_min_max_args(inputs[0], low, high)]
        quantizes = node.op in QUANTIZED_OPS and not node.in_float
        return run_node(quantize_kernel(node, self.config) if quantizes else node, inputs)

    def _is_shared(self, node: Node) -> bool:
        return any(weight.key in self.shared for weight in node.weights.values())

    def _release(self, node: Node) -> None:
        """Release the inputs that no other node will read."""
        for tensor in node.inputs:
            self.read_counts[tensor] -= 1
            if self.read_counts[tensor] == 0:
                self.real.pop(tensor, None)
                self.quantized.pop(tensor, None)


def add_to_bias(node: Node, shift: NDArray) -> None:
    """Add a constant to a linear node's output: in BatchNormalization's beta where there is one, else in the bias.

    Args:
        node: a node whose op is in `LINEAR`; its weights are exchanged.
        shift: what is added, float [channels], in the unit of the output.
    """
    name = "beta" if "norm" in node.attrs else "bias"
    old = node.weights.get(name) or Weight.constant(np.zeros(len(shift)))
    node.weights[name] = Weight.compute("corrected", old, Weight(shift.astype(old.value.dtype)))


def _channel_means(values: Values) -> NDArray[np.float64]:
    """The mean over batches, samples and positions: [channels]."""
    rows = [np.reshape(each.numpy(), (-1, each.shape[-1])) for each in values]
    return np.sum([row.sum(axis=0, dtype=np.float64) for row in rows], axis=0) / sum(map(len, rows))


def _batches_that_fit(graph: Graph, batches: Sequence[Sequence[NDArray]]) -> Sequence[Sequence[NDArray]]:
    """The first batches whose activations fit into MEMORY_BYTES, at least one."""
    sizes = [np.prod([s or 1 for s in t.shape]) for node in graph.nodes for t in node.outputs if t.shape is not None]
    bytes_of_sample = 4 * LIVE_TENSORS * float(max(sizes, default=1))
    samples = np.cumsum([len(batch[0]) for batch in batches])
    return batches[: max(int(np.sum(samples * bytes_of_sample <= MEMORY_BYTES)), 1)]
