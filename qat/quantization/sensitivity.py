"""What quantizing each layer alone costs, and which few layers to leave in float."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.calibration_data import Calibration, as_batches
from qat.config import QuantConfig
from qat.errors import ConfigError
from qat.metrics import accuracy, agreement, sqnr_db
from qat.quantization.calibrate import calibrate
from qat.quantization.dead_ranges import widen_dead
from qat.quantization.importing.preflight import refuse_blockers
from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.ir.interpret import run_node
from qat.quantization.kernels.quantized_kernel import QUANTIZED_OPS, quantize_kernel
from qat.quantization.placement import place
from qat.quantization.rewrites import canonicalize
from qat.quantization.settings import calibration_specs, config_or_default


@dataclass(frozen=True)
class LayerSensitivity:
    """Cost of quantizing one Keras layer alone. `sqnr_db` compares the model's outputs with those in float."""

    layer: str
    sqnr_db: float
    accuracy_drop: float | None  # share of the samples, 0-1: against labels, or against float's predictions


class PartlyQuantized:
    """A canonical model whose layers can be quantized by name, one by one, in one traced graph."""

    def __init__(self, float_model: tf_keras.Model, calibration: Calibration, config: QuantConfig) -> None:
        self.graph = canonicalize(float_model)
        refuse_blockers(self.graph)
        self.batches = as_batches(calibration, calibration_specs(self.graph), config.calibration.batch_size)
        ranges = place(self.graph)
        min_max = calibrate(self.graph, ranges, self.batches, config.calibration)
        min_max = widen_dead(self.graph, dict(zip(ranges, min_max, strict=True)))
        self.min_max = {id(quant_spec): low_high for quant_spec, low_high in min_max.items()}
        self.config = config
        self.layers = list(dict.fromkeys(_layer_of(node) for node in self.graph.nodes if _quantizes(node)))
        self.quantized_nodes = {id(node): quantize_kernel(node, config) for node in self.graph.nodes_of(*QUANTIZED_OPS)}
        self._outputs = tf.function(self._run, autograph=False)

    def outputs(self, quantized: Sequence[str]) -> NDArray[np.float32]:
        """The first output over all calibration rows, with these layers quantized: [N, ...]."""
        mask = tf.constant([layer in set(quantized) for layer in self.layers])
        return np.concatenate([self._outputs(mask, *map(tf.constant, batch)).numpy() for batch in self.batches])

    def _run(self, mask: tf.Tensor, *inputs: tf.Tensor) -> tf.Tensor:
        values: dict[Tensor, tf.Tensor] = {}
        for entry, value in zip(self.graph.inputs, inputs, strict=True):
            values[entry.output] = value
        for node in self.graph.nodes:
            if node.op != "input":
                results = self._run_node(node, [values[tensor] for tensor in node.inputs], mask)
                values.update(zip(node.outputs, results, strict=False))
        return values[self.graph.outputs[0]]

    def _run_node(self, node: Node, inputs: list[tf.Tensor], mask: tf.Tensor) -> list[tf.Tensor]:
        if not _quantizes(node):
            return run_node(node, inputs)
        is_selected = mask[self.layers.index(_layer_of(node))]
        if node.op == "fake_quant":
            low, high = self.min_max[id(node.attrs["quant_spec"].root())]
            return [
                tf.where(is_selected, tf.quantization.fake_quant_with_min_max_args(inputs[0], low, high), inputs[0])
            ]
        in_float = run_node(node, inputs)[0]
        return [tf.where(is_selected, run_node(self.quantized_nodes[id(node)], inputs)[0], in_float)]


def _layer_of(node: Node) -> str:
    return node.layer or node.name


def _quantizes(node: Node) -> bool:
    return node.op == "fake_quant" or node.op in QUANTIZED_OPS


def sensitivity(
    float_model: tf_keras.Model,
    calibration: Calibration,
    *,
    labels: NDArray | None = None,
    config: QuantConfig | None = None,
) -> list[LayerSensitivity]:
    """The cost of each Keras layer on the calibration data, highest first.

    Args:
        float_model: a float Keras model with fixed input sizes.
        calibration: real inputs [N, ...], as `quantize_model` takes them.
        labels: class of each sample, int [N], for the accuracy drop; None takes the float model's predictions.
        config: settings by which to quantize; None takes `QuantConfig(name="qat")`.

    Returns:
        One entry per layer that is quantized: SQNR of the output in dB, and accuracy drop as a share 0-1 where there
        are classes.

    Raises:
        QatError: the model or the calibration is refused, as by `quantize_model`.
    """
    part = PartlyQuantized(float_model, calibration, config_or_default(config))
    reference = part.outputs(())
    rows = []
    for layer in part.layers:
        outputs = part.outputs([layer])
        rows.append(LayerSensitivity(layer, sqnr_db(reference, outputs), _accuracy_drop(reference, outputs, labels)))
    return sorted(rows, key=lambda row: row.sqnr_db)


def _accuracy_drop(reference: NDArray, outputs: NDArray, labels: NDArray | None) -> float | None:
    if reference.ndim != 2:
        return None
    if labels is None:
        return 1.0 - agreement(reference, outputs)
    return accuracy(reference, labels) - accuracy(outputs, labels)


def auto_skip(
    float_model: tf_keras.Model,
    calibration: Calibration,
    *,
    max_drop: float,
    labels: NDArray | None = None,
    config: QuantConfig | None = None,
) -> list[str]:
    """The layers to leave in float so that the rest costs at most `max_drop` accuracy points (0-100).

    Greedy: the layer whose return to float gains most, until the threshold is met; then each layer that proved
    unnecessary is quantized again.

    Args:
        float_model: a classifier with an output [N, classes].
        calibration: real inputs [N, ...], as `quantize_model` takes them.
        max_drop: the largest drop that is accepted, in accuracy points (0-100).
        labels: class of each sample, int [N]; None takes the float model's predictions.
        config: settings by which to quantize; None takes `QuantConfig(name="qat")`.

    Returns:
        Names of the Keras layers, the most useful first; empty where none is needed.

    Raises:
        ConfigError: the model is no classifier, or no choice of layers meets the threshold.
    """
    part = PartlyQuantized(float_model, calibration, config_or_default(config))
    reference = part.outputs(())
    if reference.ndim != 2:
        raise ConfigError("quant.auto_skip.max_drop: needs a classifier's output [N, classes] to measure a drop")

    def cost(skipped: Sequence[str]) -> tuple[float, float]:
        outputs = part.outputs([layer for layer in part.layers if layer not in skipped])
        return 100 * _accuracy_drop(reference, outputs, labels), -sqnr_db(reference, outputs)

    skipped: list[str] = []
    while cost(skipped)[0] > max_drop:
        quantized = [layer for layer in part.layers if layer not in skipped]
        if not quantized:
            raise ConfigError(f"quant.auto_skip.max_drop={max_drop}: not met even with every layer in float")
        skipped.append(min(quantized, key=lambda layer: cost([*skipped, layer])))
    for layer in list(skipped):
        without = [other for other in skipped if other != layer]
        if cost(without)[0] <= max_drop:
            skipped = without
    return skipped
