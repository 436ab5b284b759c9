"""A float model that was built again, and lacks variables that only a call on numbers makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray

from qat.models.keras_types import KerasModel, KerasTensor
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.model_inputs import nest_inputs
from qat.quantization.keras.to_float_messages import CONFIG_ERRORS

CALL_ERRORS = (*CONFIG_ERRORS, LookupError, RuntimeError, tf.errors.OpError)


def nested_as_called(model: KerasModel, nest: Any, tensors: list[Any]) -> Any:
    """Nest tensors as a float model is called.

    Args:
        model: the float model, or one of its class; it may know the nest.
        nest: how the quantized model nests its inputs, which knows no list of one: the nest where the model knows none.
        tensors: one per input, in order, of any shapes and dtypes.

    Returns:
        The tensors in the nest.
    """
    known = version_of(model).input_tensors(model)
    return nest_inputs(model, tensors) if known else tf.nest.pack_sequence_as(nest, tensors)


def make_missing_variables(
    made: KerasModel, values: Sequence[NDArray | None], inputs: Sequence[KerasTensor], caller: KerasModel, nest: Any
) -> None:
    """Call a model on zeros, at inference and then in training, where variables are missing that a call makes.

    Keras builds a layer that says its output's shape itself, or that is called in training alone, only then.

    Args:
        made: the model that was built again, with fresh weights: what the calls move in it is to be assigned.
        values: one array for each of the variables that it is to have, in order; None for one of a metric.
        inputs: Keras tensors, one per input, which say shapes and dtypes.
        caller: the model that knows how it is called: the float model itself, or `made`.
        nest: as `nested_as_called` takes it.
    """
    for training in (False, True):
        if not _lacks(made, values):
            return
        zeros = [tf.zeros([each.shape[0] or 1, *each.shape[1:]], each.dtype) for each in inputs]
        try:
            made(nested_as_called(caller, nest, zeros), training=training)
        except CALL_ERRORS:
            continue  # what is missing then is said where the values are assigned
        made.reset_metrics()
        made._clear_losses()


def _lacks(model: KerasModel, values: Sequence[NDArray | None]) -> bool:
    held = list(model.variables)
    wanted = [(at, tuple(value.shape)) for at, value in enumerate(values) if value is not None]
    return any(at >= len(held) or tuple(held[at].shape) != shape for at, shape in wanted)
