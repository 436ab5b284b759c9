"""Which Keras a model is of, where both are at hand."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, TypeGuard

from qat.models.keras_types import KerasLayer, KerasModel


def is_keras3(model: object) -> bool:
    """Whether it is a model or layer of Keras 3; looking does not import it."""
    module = sys.modules.get("keras")
    return module is not None and isinstance(model, getattr(module, "Layer", ()))


def is_keras_model(model: object) -> TypeGuard[KerasModel]:
    """Whether it is a model of Keras 2 (tf_keras) or of Keras 3."""
    module = sys.modules.get("keras" if is_keras3(model) else "tf_keras")
    return module is not None and isinstance(model, module.Model)


def input_names(model: KerasModel) -> list[str]:
    """The names of a model's inputs, in its order; of a dictionary, the keys."""
    if not is_keras3(model):
        return list(model.input_names)
    nest = nested_inputs(model)
    return [str(name) for name in sorted(nest)] if isinstance(nest, dict) else [each.name for each in model.inputs]


def takes_dictionary(model: KerasModel) -> bool:
    """Whether a model is called with a dictionary of its inputs."""
    return isinstance(nested_inputs(model), dict)


def nested_inputs(model: KerasModel) -> Any:
    """A functional or sequential model's inputs, nested as it is called with them; None of any other model."""
    if not is_keras3(model):
        return getattr(model, "_nested_inputs", None)
    return getattr(getattr(model, "_functional", None) or model, "_inputs_struct", None)


def keras_of(model: KerasModel | KerasLayer) -> Any:
    """The package that a model is of: its optimizers, losses, metrics and callbacks train it."""
    return import_module("keras" if is_keras3(model) else "tf_keras")
