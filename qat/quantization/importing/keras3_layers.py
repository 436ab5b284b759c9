"""How layers are read that only Keras 3 has, or that say in Keras 3 what Keras 2 says otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from qat.models.keras_types import KerasLayer
from qat.quantization.importing.tracer import Reader, Tracer, argument

LEAST_NORM = 1e-12  # in UnitNormalization: limit of the norm, not of its square


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

    Dropout draws for all rows at once: other numbers than the float model's, of the same distribution.
    """
    x, inner = argument(args, kwargs), layer.layer
    if None in x.shape[1:]:
        return original(layer, *args, **kwargs)
    mode = {"training": kwargs.get("training")} if inner._call_has_training_arg else {}
    mask = kwargs.get("mask") if inner._call_has_mask_arg else None
    with _as_keras_calls_it(inner):
        if mask is None and all(map(_is_same_by_rows, inner._flatten_layers())):
            y = inner(tf.reshape(x, [-1, *x.shape[2:]]), **mode)
            return tf.reshape(y, [-1, x.shape[1], *y.shape[1:]])
        steps = tf.unstack(x, axis=1)
        masks = [{}] * len(steps) if mask is None else [{"mask": each} for each in tf.unstack(mask, axis=1)]
        return tf.stack([inner(step, **mode, **each) for step, each in zip(steps, masks, strict=True)], axis=1)


def _is_same_by_rows(layer: KerasLayer) -> bool:
    """Whether one call on the rows of all time steps does what a call for each does: of a user's layer that is not
    known, for it may look at all rows, add losses or have a state."""
    moves = isinstance(layer, (keras.layers.BatchNormalization, keras.layers.SpectralNormalization))
    return type(layer).__module__.startswith("keras.src.") and not moves and layer.activity_regularizer is None


@contextlib.contextmanager
def _as_keras_calls_it(inner: KerasLayer) -> Iterator[None]:
    """Without its own loss of activity: Keras runs its `call`, which adds none."""
    held, inner.activity_regularizer = inner.activity_regularizer, None
    try:
        yield
    finally:
        inner.activity_regularizer = held
