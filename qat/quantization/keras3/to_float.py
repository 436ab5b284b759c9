"""The way back: the float model of Keras 3 with the weights that a quantization-aware model has learned."""

from __future__ import annotations

import copy
import json
from typing import Any

import keras

from qat.errors import ModelError
from qat.models.untrusted.check_config import drop_compile_config
from qat.quantization.keras.model import QatModel


def architecture(model: keras.Model) -> dict[str, Any] | None:
    """The model as Keras 3 writes it down; None where its class cannot be written down, or holds code."""
    try:
        said = keras.saving.serialize_keras_object(model)
        text = json.dumps(said)
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        return None
    return None if '"__lambda__"' in text else drop_compile_config(said)


def float_model_of(qat_model: QatModel, said: dict[str, Any] | None, origin: keras.Model | None) -> keras.Model | None:
    """The float model with the weights of a quantized one.

    Args:
        qat_model: the quantized model.
        said: what `architecture` gave.
        origin: the float model, where it could not be written down and this process has it still.

    Returns:
        A model of the float model's class, built; None where Keras cannot build it again.

    Raises:
        ModelError: a class in it is not known here, or it has other variables than the one that was quantized.
    """
    model = _cloned(origin) if origin is not None else _read(said, qat_model.name)
    if model is None:
        return None
    if not model.built or not model.variables:
        model(_entries(qat_model))
    _set_variables(model, qat_model)
    return model


def _cloned(model: keras.Model) -> keras.Model | None:
    try:
        return type(model).from_config(model.get_config())
    except (NotImplementedError, TypeError, ValueError, AttributeError):
        return None


def _read(said: dict[str, Any] | None, name: str) -> keras.Model | None:
    if said is None:
        return None
    try:
        return keras.saving.deserialize_keras_object(copy.deepcopy(said))
    except TypeError as error:
        if "Could not locate" not in str(error):
            return None
        raise ModelError(
            f"to_float: model {name!r} holds a class that is not known here ({str(error).split('.')[0]}). Register it "
            "with keras.saving.register_keras_serializable first, or do this in a keras.saving.custom_object_scope"
        ) from error
    except (ValueError, AttributeError, NotImplementedError):
        return None


def _entries(qat_model: QatModel) -> Any:
    import tensorflow as tf

    made = [keras.KerasTensor(tuple(each.shape), each.dtype.name) for each in qat_model.inputs]
    return tf.nest.pack_sequence_as(qat_model._nested_inputs, made)


def _set_variables(model: keras.Model, qat_model: QatModel) -> None:
    values = qat_model.float_variables.values()
    held = list(model.variables)
    for at, value in enumerate(values):
        if value is None:
            continue
        shape = tuple(held[at].shape) if at < len(held) else None
        if shape != tuple(value.shape):
            found = "none" if shape is None else f"{held[at].path} of shape {shape}"
            raise ModelError(
                f"to_float: model {model.name!r}, built again, has other variables than the one that was quantized: "
                f"in the place of {qat_model.float_variables.variables[at].name} of shape {tuple(value.shape)} it has "
                f"{found}"
            )
        held[at].assign(value)
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with what it made of its variables when it was built
