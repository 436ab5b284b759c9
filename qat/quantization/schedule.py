"""What changes while a QAT model trains: when quantization starts, when ranges and BatchNormalization are frozen.

The switches are plain attributes that a training graph reads when it is traced, so they cost nothing per training step;
a change traces the graph again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tf_keras

from qat.config import QuantConfig
from qat.errors import DataError
from qat.models.which_keras import unwrap
from qat.quantization.keras.activation_quantizer import ActivationQuantizer
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.wrapper import CanonicalWrapper
from qat.schedule_point import training_step


def quantizers(model: tf_keras.Model) -> Iterator[Any]:
    """Every quantizer of a QAT model, of weights and of activations."""
    for layer in unwrap(model).layers:
        if isinstance(layer, RangeLayer):
            yield layer.quantizer
        elif isinstance(layer, CanonicalWrapper):
            yield from (quantizer for _, quantizer, _ in layer._weight_vars)


def batch_norm_layers(model: tf_keras.Model) -> list[Linear]:
    """The linear layers with BatchNormalization inside."""
    layers = [layer.layer for layer in unwrap(model).layers if isinstance(layer, CanonicalWrapper)]
    return [layer for layer in layers if isinstance(layer, Linear) and layer.norm is not None]


def enable_quantization(model: tf_keras.Model, enabled: bool) -> None:
    """Switch fake quantization on or off.

    Args:
        model: what `quantize_model` returned; its quantizers are switched in place.
        enabled: whether to round; False computes in float, as before quantization.
    """
    changed = [quantizer for quantizer in quantizers(model) if quantizer.enabled != enabled]
    for quantizer in changed:
        quantizer.enabled = enabled
    if changed:
        model.forget_traces()


def observe_ranges(model: tf_keras.Model, observing: bool) -> None:
    """Let the ranges follow the training batches, or freeze them.

    Args:
        model: what `quantize_model` returned.
        observing: whether the ranges follow; False freezes them.
    """
    for quantizer in quantizers(model):
        if isinstance(quantizer, ActivationQuantizer):
            quantizer.observing = observing


def freeze_batch_norm(model: tf_keras.Model, frozen: bool) -> None:
    """Normalize in training by the moving statistics, as the file does, or by those of each batch.

    Args:
        model: what `quantize_model` returned.
        frozen: True normalizes by the moving statistics, which then stay; False by the mean and variance of each batch.
    """
    for layer in batch_norm_layers(model):
        layer.norm_frozen = frozen


def retrace(model: tf_keras.Model) -> None:
    """Make Keras trace the training step again, in the middle of a fit as well.

    Evaluation stays as it is traced: of the switches it reads one alone, and `enable_quantization` sees to that.
    """
    if model.train_function is not None:
        model.make_train_function(force=True)


def reestimate_batch_norm(model: tf_keras.Model, batches: Iterable[Any]) -> int:
    """Set BatchNormalization's moving statistics to the mean over `batches`, as they are with today's weights.

    Forward passes only; weights and ranges do not change. Frozen BatchNormalization keeps its statistics.

    Args:
        model: what `quantize_model` returned.
        batches: batches of model inputs [n, ...] as `fit` takes them, without labels; all have the same weight.

    Returns:
        How many batches there were.

    Raises:
        DataError: there are none.
    """
    layers = [layer for layer in batch_norm_layers(model) if layer.uses_batch(True) or layer.norm_frozen]
    previous = [(layer.momentum, layer.norm_frozen) for layer in layers]
    observe_ranges(model, False)
    freeze_batch_norm(model, False)
    count = 0
    try:
        for batch in batches:
            count += 1
            for layer in layers:
                layer.momentum = (count - 1) / count
            model(batch, training=True)
    finally:
        for layer, (momentum, frozen) in zip(layers, previous, strict=True):
            layer.momentum, layer.norm_frozen = momentum, frozen
        observe_ranges(model, True)
    if count == 0:
        raise DataError("reestimate_batch_norm: no batches; give some of the training inputs")
    retrace(model)
    return count


class QuantizationSchedule(tf_keras.callbacks.Callback):
    """Delays quantization, freezes ranges and BatchNormalization, each at a training step.

    Args:
        config: `delay`, `freeze_observers_at` and `freeze_bn_at`.
        steps: training steps in all.
        steps_per_epoch: training steps per epoch.
    """

    def __init__(self, config: QuantConfig, steps: int, steps_per_epoch: int) -> None:
        super().__init__()
        self.changes: dict[int, list] = {}
        self.steps_per_epoch, self.first_step, self.has_begun = steps_per_epoch, 0, False
        enabled = {"delay": (enable_quantization, True)}
        frozen = {"freeze_observers_at": (observe_ranges, False), "freeze_bn_at": (freeze_batch_norm, True)}
        self._schedule(0, enable_quantization, config.delay is None)
        for name, change in (enabled | frozen).items():
            value = getattr(config, name)
            if value is not None:
                self._schedule(training_step(value, steps, steps_per_epoch, key=f"quant.{name}"), *change)

    def _schedule(self, step: int, change: Callable[..., None], value: bool) -> None:
        self.changes.setdefault(step, []).append((change, value))

    def on_train_begin(self, logs: dict | None = None) -> None:
        observe_ranges(self.model, True)
        freeze_batch_norm(self.model, False)
        self.has_begun = False

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.first_step = epoch * self.steps_per_epoch

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        step = self.first_step + batch
        due = [step] if self.has_begun else [each for each in sorted(self.changes) if each <= step]  # it may be resumed
        changes = [change for each in due for change in self.changes.get(each, ())]
        for change, value in changes:
            change(self.model, value)
        if changes and self.has_begun:
            retrace(self.model)
        self.has_begun = True

    def on_train_end(self, logs: dict | None = None) -> None:
        """Whatever the schedule did, the trained model quantizes."""
        enable_quantization(self.model, True)
        freeze_batch_norm(self.model, False)
        observe_ranges(self.model, True)
        retrace(self.model)
