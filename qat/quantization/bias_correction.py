"""Bias correction: what rounding and saturation add to a channel's mean is taken off its bias again.

Layer by layer in the order of the graph, on calibration data: the mean output of each linear layer, fed by what the
quantized layers before it give, is brought to that of the float model (Nagel et al. 2019, section 4.2, with data in
place of its assumptions on the distribution).
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
from qat.quantization.kernels.quantized_kernel import WITH_GRID, on_grid
from qat.quantization.placement import Range
from qat.quantization.rewrites.builder import LINEAR

MEMORY_BYTES = 1 << 30  # for the activations of both models; more samples than fit are left out
LIVE_TENSORS = 8  # of the largest size, at the same time, in both models together

Values = list[tf.Tensor]  # one a batch


def correct_biases(
    graph: Graph,
    spans: Mapping[Range, tuple[float, float]],
    batches: Sequence[Sequence[NDArray]],
    config: QuantConfig,
) -> dict[str, float]:
    """Correct the biases of a placed graph in place.

    Returns:
        Largest correction of each corrected layer, in the unit of its output.
    """
    used = _affordable(graph, batches)
    both = _Both(graph, spans, config, used)
    for node in graph.nodes:
        if node.op != "input":
            both.step(node)
    return both.corrections


class _Both:
    """The float graph and the quantized one, side by side, tensor by tensor, over all batches."""

    def __init__(
        self,
        graph: Graph,
        spans: Mapping[Range, tuple[float, float]],
        config: QuantConfig,
        batches: Sequence[Sequence[NDArray]],
    ) -> None:
        self.spans, self.config, self.count = spans, config, len(batches)
        self.real: dict[Tensor, Values] = {}
        self.quantized: dict[Tensor, Values] = {}
        self.corrections: dict[str, float] = {}
        self.readers = Counter(tensor for node in graph.nodes for tensor in node.inputs)
        keys = Counter(w.key for node in graph.nodes for w in node.weights.values() if w.key is not None)
        self.shared = {key for key, uses in keys.items() if uses > 1}
        for place, entry in enumerate(graph.inputs):
            values = [tf.constant(batch[place]) for batch in batches]
            self.real[entry.output] = self.quantized[entry.output] = values

    def step(self, node: Node) -> None:
        """Compute a node in both graphs, and correct its bias if it has one to correct."""
        outputs = [self._real(node, batch) for batch in range(self.count)]
        rounded = [self._quantized(node, batch) for batch in range(self.count)]
        if node.op in LINEAR and not node.in_float and not self._is_shared(node):
            shift = _channel_means([o[0] for o in outputs]) - _channel_means([o[0] for o in rounded])
            add_to_bias(node, shift)
            self.corrections[node.layer or node.name] = float(np.max(np.abs(shift)))
            rounded = [[values[0] + tf.constant(shift, tf.float32)] for values in rounded]
        for place, tensor in enumerate(node.outputs):
            self.real[tensor] = [each[place] for each in outputs]
            self.quantized[tensor] = [each[place] for each in rounded]
        self._forget(node)

    def _real(self, node: Node, batch: int) -> list[tf.Tensor]:
        return run_node(node, [self.real[tensor][batch] for tensor in node.inputs])

    def _quantized(self, node: Node, batch: int) -> list[tf.Tensor]:
        inputs = [self.quantized[tensor][batch] for tensor in node.inputs]
        if node.op == "fake_quant":
            low, high = self.spans[node.attrs["range"].root()]
            return [tf.quantization.fake_quant_with_min_max_args(inputs[0], low, high)]
        quantizes = node.op in WITH_GRID and not node.in_float
        return run_node(on_grid(node, self.config) if quantizes else node, inputs)

    def _is_shared(self, node: Node) -> bool:
        return any(weight.key in self.shared for weight in node.weights.values())

    def _forget(self, node: Node) -> None:
        """Tensors that nobody will read again."""
        for tensor in node.inputs:
            self.readers[tensor] -= 1
            if self.readers[tensor] == 0:
                self.real.pop(tensor, None)
                self.quantized.pop(tensor, None)


def add_to_bias(node: Node, shift: NDArray) -> None:
    """Move a linear node's output by `shift` [channels]: in BatchNormalization's beta where there is one."""
    name = "beta" if "norm" in node.attrs else "bias"
    old = node.weights.get(name) or Weight.constant(np.zeros(len(shift)))
    node.weights[name] = Weight.computed("corrected", old, Weight(shift.astype(old.value.dtype)))


def _channel_means(values: Values) -> NDArray[np.float64]:
    """Over batches, samples and positions: [channels]."""
    rows = [np.reshape(each.numpy(), (-1, each.shape[-1])) for each in values]
    return np.sum([row.sum(axis=0, dtype=np.float64) for row in rows], axis=0) / sum(map(len, rows))


def _affordable(graph: Graph, batches: Sequence[Sequence[NDArray]]) -> Sequence[Sequence[NDArray]]:
    """As many batches as fit into memory, one at least."""
    sizes = [np.prod([s or 1 for s in t.shape]) for node in graph.nodes for t in node.outputs if t.shape is not None]
    of_sample = 4 * LIVE_TENSORS * float(max(sizes, default=1))
    samples = np.cumsum([len(batch[0]) for batch in batches])
    return batches[: max(int(np.sum(samples * of_sample <= MEMORY_BYTES)), 1)]
