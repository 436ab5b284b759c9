"""How layers are read that only Keras 3 has, or that say in Keras 3 what Keras 2 says otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from qat.models.keras_types import KerasLayer
from qat.quantization.importing.tracer import Reader, Tracer, argument

LEAST_NORM = 1e-12  # of UnitNormalization: of the norm, not of its square


def readers() -> dict[Any, Reader]:
    """The table `call function -> reader`."""
    return {
        keras.layers.UnitNormalization.call: _unit_norm,
        keras.layers.TimeDistributed.call: _time_distributed,
    }


def _unit_norm(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    return tf.math.l2_normalize(argument(args, kwargs), layer.axis, LEAST_NORM**2)


def _time_distributed(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
    """One call for all time steps, as they are rows to a layer that looks at each row by itself; else one for each.

    A layer that draws and has no weights draws for each step in training; one with weights draws for all rows at once.
    """
    x, inner = argument(args, kwargs), layer.layer
    if None in x.shape[1:] or (tracer.training and _only_draws(inner)):
        return original(layer, *args, **kwargs)
    told = {"training": kwargs.get("training")} if inner._call_has_training_arg else {}
    mask = kwargs.get("mask") if inner._call_has_mask_arg else None
    with _as_keras_calls_it(inner):
        if mask is None and not any(
            isinstance(part, keras.layers.BatchNormalization) for part in inner._flatten_layers()
        ):
            y = inner(tf.reshape(x, [-1, *x.shape[2:]]), **told)
            return tf.reshape(y, [-1, x.shape[1], *y.shape[1:]])
        steps = tf.unstack(x, axis=1)
        masks = [{}] * len(steps) if mask is None else [{"mask": each} for each in tf.unstack(mask, axis=1)]
        return tf.stack([inner(step, **told, **each) for step, each in zip(steps, masks, strict=True)], axis=1)


def _only_draws(layer: KerasLayer) -> bool:
    return not layer.trainable_variables and any(part._seed_generators for part in layer._flatten_layers())


@contextlib.contextmanager
def _as_keras_calls_it(inner: KerasLayer) -> Iterator[None]:
    """Without its own loss of activity: Keras runs its `call`, which adds none."""
    held, inner.activity_regularizer = inner.activity_regularizer, None
    try:
        yield
    finally:
        inner.activity_regularizer = held
