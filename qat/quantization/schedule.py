"""What changes while a QAT model trains: when quantization starts, when ranges and BatchNormalization stand still.

The switches are plain attributes that a training graph reads when it is traced, so they cost no step anything; a
change traces the graph anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import tf_keras

from qat.config import QuantConfig
from qat.errors import DataError
from qat.quantization.keras.layers import Linear, RangeLayer
from qat.quantization.keras.quantizers import ActivationQuantizer
from qat.quantization.keras.wrapper import CanonicalWrapper
from qat.schedule_point import training_step


def quantizers(model: tf_keras.Model) -> Iterator[Any]:
    """Every quantizer of a QAT model, of weights and of activations."""
    for layer in model.layers:
        if isinstance(layer, RangeLayer):
            yield layer.quantizer
        elif isinstance(layer, CanonicalWrapper):
            yield from (quantizer for _, quantizer, _ in layer._weight_vars)


def normalized(model: tf_keras.Model) -> list[Linear]:
    """The linear layers with BatchNormalization inside."""
    layers = [layer.layer for layer in model.layers if isinstance(layer, CanonicalWrapper)]
    return [layer for layer in layers if isinstance(layer, Linear) and layer.norm is not None]


def enable_quantization(model: tf_keras.Model, enabled: bool) -> None:
    """Compute on the grid, or in float as before quantization."""
    switched = [quantizer for quantizer in quantizers(model) if quantizer.enabled != enabled]
    for quantizer in switched:
        quantizer.enabled = enabled
    if switched:
        model.forget_traces()


def observe_ranges(model: tf_keras.Model, observing: bool) -> None:
    """Let the ranges follow the batches, or stand still."""
    for quantizer in quantizers(model):
        if isinstance(quantizer, ActivationQuantizer):
            quantizer.observing = observing


def freeze_batch_norm(model: tf_keras.Model, frozen: bool) -> None:
    """Train with the moving statistics, as the file has them, or with each batch's own."""
    for layer in normalized(model):
        layer.norm_frozen = frozen


def retrace(model: tf_keras.Model) -> None:
    """Make Keras trace the training step anew, in the middle of a fit as well.

    Evaluation stays as it is traced: of the switches it reads one alone, and `enable_quantization` sees to that.
    """
    if model.train_function is not None:
        model.make_train_function(force=True)


def reestimate_batch_norm(model: tf_keras.Model, batches: Iterable[Any]) -> int:
    """Set BatchNormalization's moving statistics to the mean over `batches`, as they are with today's weights.

    Forward passes only; weights and ranges stand still. BatchNormalization that is not trainable keeps its statistics.

    Args:
        batches: model inputs, as `fit` feeds them, without labels; each counts alike.

    Returns:
        The number of batches.

    Raises:
        DataError: there are none.
    """
    layers = [layer for layer in normalized(model) if layer.uses_batch(True) or layer.norm_frozen]
    held = [(layer.momentum, layer.norm_frozen) for layer in layers]
    observe_ranges(model, False)
    freeze_batch_norm(model, False)
    seen = 0
    try:
        for batch in batches:
            seen += 1
            for layer in layers:
                layer.momentum = (seen - 1) / seen
            model(batch, training=True)
    finally:
        for layer, (momentum, frozen) in zip(layers, held, strict=True):
            layer.momentum, layer.norm_frozen = momentum, frozen
        observe_ranges(model, True)
    if seen == 0:
        raise DataError("reestimate_batch_norm: no batches; give some of the training inputs")
    retrace(model)
    return seen


class QuantizationSchedule(tf_keras.callbacks.Callback):
    """Delay of quantization, freeze of ranges and of BatchNormalization, each at its step of `steps` in all."""

    def __init__(self, config: QuantConfig, steps: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.changes: dict[int, list] = {}
        self.step = 0
        enabled = {"delay": (enable_quantization, True)}
        frozen = {"freeze_observers_at": (observe_ranges, False), "freeze_bn_at": (freeze_batch_norm, True)}
        self._at(0, enable_quantization, config.delay is None)
        for name, change in (enabled | frozen).items():
            value = getattr(config, name)
            if value is not None:
                self._at(training_step(value, steps, steps_per_epoch, key=f"quant.{name}"), *change)

    def _at(self, step: int, change: Any, value: bool) -> None:
        self.changes.setdefault(step, []).append((change, value))

    def on_train_begin(self, logs: dict | None = None) -> None:
        observe_ranges(self.model, True)
        freeze_batch_norm(self.model, False)
        self.step = 0

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        for change, value in self.changes.get(self.step, ()):
            change(self.model, value)
        if self.changes.get(self.step) and self.step:
            retrace(self.model)
        self.step += 1

    def on_train_end(self, logs: dict | None = None) -> None:
        """Whatever the schedule did, the model that is left computes on the grid."""
        enable_quantization(self.model, True)
        freeze_batch_norm(self.model, False)
        observe_ranges(self.model, True)
        retrace(self.model)
