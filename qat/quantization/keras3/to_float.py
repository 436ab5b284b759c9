"""The way back: the float model of Keras 3 with the weights that a quantization-aware model has learned."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import keras

from qat.json_values import Json
from qat.models.untrusted.check_config import drop_compile_config
from qat.quantization.keras.freezing import freeze_alike, freeze_as_now, set_momentum_as_now
from qat.quantization.keras.model import QatModel
from qat.quantization.keras.to_float import foreign_classes, name_alike, set_variables
from qat.quantization.keras.to_float_messages import CONFIG_ERRORS, unknown_classes
from qat.quantization.keras.unbuilt_parts import make_missing_variables, nested_as_called

EVERY_LAYER_HAS = ("name", "trainable", "dtype", "activity_regularizer")


def architecture(model: keras.Model) -> dict[str, Any] | None:
    """The model as Keras 3 writes it down; None where its class cannot be written down, or holds code."""
    try:
        config = keras.saving.serialize_keras_object(model)
        text = json.dumps(config)
    except CONFIG_ERRORS:
        return None
    return None if '"__lambda__"' in text else drop_compile_config(config)


def unknown_names(config: Json) -> list[str]:
    """Classes and functions in what `architecture` gave that are neither Keras' nor registered with it."""
    return foreign_classes(config, keras.saving.get_registered_object) + list(_unknown_functions(config))


def _unknown_functions(config: Json) -> Iterator[str]:
    if isinstance(config, (list, tuple)):
        config = dict(enumerate(config))
    if not isinstance(config, dict):
        return
    name = config.get("config")
    if config.get("class_name") == "function" and isinstance(name, str):
        of_keras = any(hasattr(each, name) for each in (keras.activations, keras.initializers, keras.ops))
        if not of_keras and keras.saving.get_registered_object(name) is None:
            yield name
    for each in config.values():
        yield from _unknown_functions(each)


def float_model_of(
    qat_model: QatModel, config: dict[str, Any] | None, origin: keras.Model | None, is_trained: bool = True
) -> keras.Model | None:
    """The float model with the weights of a quantized one.

    Args:
        qat_model: the quantized model, trained or not.
        config: what `architecture` gave: the model as Keras has written it down, JSON values; None where it could not.
        origin: the float model, where it could not be written down for other processes, and this one has it still; else
            None.
        is_trained: whether the quantized model of Keras 3 is trainable as a whole.

    Returns:
        A model of the float model's class, built; None where Keras cannot build it again.

    Raises:
        ModelError: a class in it is not known here, or it has other variables than the one that was quantized.
    """
    model = _clone(origin) if origin is not None else _read(config, qat_model.name)
    if model is None:
        return None
    _build(model, qat_model, origin)
    names = [None if each is None else each.name for each in qat_model.float_variables.variables]
    set_variables(model, qat_model.float_variables.values(), names, model.name)
    freeze_alike(model, qat_model.qat_config.get("trained"))
    freeze_as_now(model, qat_model.float_variables, qat_model.qat_config["order"], is_trained)
    set_momentum_as_now(model, qat_model.float_variables)
    if origin is not None:
        name_alike(model, origin)
        for mine, theirs in zip(model.variables, origin.variables, strict=False):
            mine._path = theirs.path
    return model


def _clone(model: keras.Model) -> keras.Model | None:
    own = {name: _MadeByItsConstructor(each) for name, each in _own_objects(model).items()}
    with keras.saving.custom_object_scope(own):
        try:
            return _MadeByItsConstructor(type(model)).from_config(model.get_config())
        except CONFIG_ERRORS:
            return None


class _MadeByItsConstructor:
    """A class or function in its place while a model is built again.

    Keras writes name, policy, trainability and penalty of activity down for every layer, and cannot build one again
    whose constructor takes none of them.

    Args:
        kind: the class or function.
    """

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.__module__, self.__name__ = kind.__module__, kind.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.kind(*args, **kwargs)

    def from_config(self, config: dict[str, Any]) -> Any:
        try:
            return self.kind.from_config(dict(config))
        except TypeError:
            made = self.kind(**{key: value for key, value in config.items() if key not in EVERY_LAYER_HAS})
        made.trainable = config.get("trainable", True)
        made.dtype_policy = config.get("dtype")
        made.activity_regularizer = keras.regularizers.get(config.get("activity_regularizer"))
        return made


def _own_objects(model: keras.Model) -> dict[str, Any]:
    """Classes and functions of this model that are not Keras' own, by the names under which its config has them."""
    layers = list(model._flatten_layers())
    held = [value for layer in layers for value in vars(layer).values()]
    functions = [each for each in held if isinstance(each, FunctionType)]
    classes = {type(each) for each in [*layers, *held] if hasattr(each, "get_config")}
    named = [
        *((keras.saving.get_registered_name(each), each) for each in classes),
        *((f.__name__, f) for f in functions),
    ]
    return {name: each for name, each in named if not str(each.__module__).startswith("keras.")}


def _read(config: dict[str, Any] | None, name: str) -> keras.Model | None:
    if config is None:
        return None
    unknown = unknown_names(config)
    if unknown:
        raise unknown_classes(name, unknown, "keras")
    try:
        return keras.saving.deserialize_keras_object(copy.deepcopy(config))
    except CONFIG_ERRORS:
        return None


def _build(model: keras.Model, qat_model: QatModel, origin: keras.Model | None) -> None:
    """Make the variables that the float model has, also of layers that neither a config nor a symbolic call builds."""
    caller, nest = model if origin is None else origin, qat_model._nested_inputs
    if not model.built or not model.variables:
        inputs = [keras.KerasTensor(tuple(each.shape), each.dtype.name) for each in qat_model.inputs]
        model(nested_as_called(caller, nest, inputs))
    make_missing_variables(model, qat_model.float_variables.values(), qat_model.inputs, caller, nest)
    if origin is not None:
        _build_alike(model, origin)


def _build_alike(made: keras.Model, model: keras.Model) -> None:
    """Build the layers of `made` that no call of it reaches, as those that only a `train_step` calls."""
    for layer, given in zip(list(made._flatten_layers()), list(model._flatten_layers()), strict=False):
        if type(layer) is type(given) and given.built and not layer.built and given._build_shapes_dict:
            layer.build_from_config(given.get_build_config())
