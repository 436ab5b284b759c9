"""The way back: the float model with the weights that a quantization-aware model has learned."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import tf_keras

from qat.errors import TrainingSemanticsWarning
from qat.json_values import Json
from qat.models.keras_patches import PATCHING
from qat.models.keras_types import KerasModel
from qat.quantization.importing.keras_version import is_keras3, version_of
from qat.quantization.importing.model_inputs import input_tensors, nest_inputs
from qat.quantization.keras.to_float_messages import CONFIG_ERRORS, other_variables, unknown_classes
from qat.warning import warn


def architecture(model: tf_keras.Model) -> dict[str, Any] | None:
    """The model as Keras writes it down, to be built again; None where its class cannot be written down."""
    try:
        config = tf_keras.saving.serialize_keras_object(model)
        json.dumps(config)
    except CONFIG_ERRORS:
        return None
    return config if isinstance(config, dict) and not _holds_code(config) else None


def _holds_code(config: Json) -> bool:
    """Whether Python code is in it, which must not travel with a file unasked."""
    if isinstance(config, dict):
        own = config.get("class_name") == "__lambda__" or config.get("function_type") == "lambda"
        return own or any(map(_holds_code, config.values()))
    return isinstance(config, (list, tuple)) and any(map(_holds_code, config))


def foreign_classes(
    config: Json, registered: Callable[[str], Any] = tf_keras.saving.get_registered_object
) -> list[str]:
    """Classes in a written model that are neither Keras' nor registered: reading them would import modules.

    Args:
        config: what `architecture` gave, or a part of it: nested JSON values.
        registered: function of a registered name to a class, in the Keras of the model, or to None.

    Returns:
        Their names, each as often as it is there.
    """
    if isinstance(config, (list, tuple)):
        return [name for each in config for name in foreign_classes(each, registered)]
    if not isinstance(config, dict):
        return []
    found = [name for each in config.values() for name in foreign_classes(each, registered)]
    module, kind = config.get("module"), config.get("class_name")
    own = isinstance(kind, str) and not kind.startswith("__") and "config" in config  # "__keras_tensor__" is Keras' own
    if own and str(module).split(".")[0] not in ("keras", "tf_keras", "builtins"):
        found += [] if registered(str(config.get("registered_name") or kind)) is not None else [str(kind)]
    return found


def rebuild(config: dict[str, Any], entries: Json, name: str) -> tf_keras.Model | None:
    """The float model with fresh weights, as Keras builds it from what it has written down.

    Args:
        config: what `architecture` gave: the model as Keras has written it down, JSON values.
        entries: Keras inputs, nested as the model takes them; a model that was not built by its config is called on
            them.
        name: name of the model, for messages.

    Returns:
        The model, built; None where Keras cannot build again what it has written down (it does not read its own
        SpectralNormalization, for one).

    Raises:
        ModelError: a class in it is not known here.
    """
    unknown = foreign_classes(config)
    if unknown:
        raise unknown_classes(name, unknown, "tf_keras")
    try:
        with _building_once():
            model = tf_keras.saving.deserialize_keras_object(config)
    except (TypeError, ValueError, ImportError, AttributeError):
        return None
    if not model.built or not model.variables:
        model(entries)
    return model


def own_objects(model: tf_keras.Model) -> dict[str, type]:
    """Classes of penalties, constraints and initializers of this model that are not Keras' own, by name: for a
    `custom_object_scope` in which it is built again in the process that knows them. Layers are not among them: those
    that name themselves anew would give their variables other names."""
    kinds = (tf_keras.regularizers.Regularizer, tf_keras.constraints.Constraint, tf_keras.initializers.Initializer)
    held = [value for layer in model._flatten_layers() for value in vars(layer).values() if isinstance(value, kinds)]
    held += [found for v in model.variables if (found := getattr(v, "constraint", None)) is not None]
    return {type(each).__name__: type(each) for each in held if not type(each).__module__.startswith("tf_keras.")}


def own_parts(model: tf_keras.Model) -> dict[str, Any]:
    """Layers' classes and functions of this model that are not Keras' own, by name, with `own_objects`: for building
    the float model again, whose layers are named by `name_alike`."""
    layers = list(model._flatten_layers())
    functions = [value for layer in layers for value in vars(layer).values() if isinstance(value, FunctionType)]
    named = [*((type(each).__name__, type(each)) for each in layers), *((f.__name__, f) for f in functions)]
    own = {name: each for name, each in named if not str(each.__module__).startswith("tf_keras.")}
    return own_objects(model) | own


def name_alike(made: KerasModel, model: KerasModel) -> None:
    """Give the layers of a model that was built anew the names of the given one's.

    A class that makes its layers without names finds new ones each time. Where the layers are of other classes, or in
    another order, all names stay.

    Args:
        made: the model that was built anew, of either Keras; its layers are renamed.
        model: the model whose names they get.
    """
    theirs, ours = list(model._flatten_layers()), list(made._flatten_layers())
    if [type(layer) for layer in theirs] == [type(layer) for layer in ours]:
        for layer, given in zip(ours, theirs, strict=True):
            if layer.name != given.name:
                setattr(layer, "_name" if hasattr(layer, "_name") else "name", given.name)  # in Keras 2 and in Keras 3


def warn_of_lost_losses(model: tf_keras.Model, expected: int) -> None:
    """Warn of penalties that a model has lost: Keras writes no functions down that were given to `add_loss`.

    Args:
        model: the float model that was built again.
        expected: number of penalties of the model that was quantized, 0 or more.
    """
    lost = expected - len(model.losses)
    if lost > 0:
        warn(
            f"to_float: model {model.name!r} came back without {lost} of its {expected} penalties: Keras does not "
            "write down what was added as a function, as by add_loss(lambda: ...). Add it again before training it",
            TrainingSemanticsWarning,
        )


def set_variables(model: KerasModel, values: list[Any], names: list[str | None], name: str) -> None:
    """Assign values to the variables of a float model that was built again, and give the variables their names.

    Classes that make layers without names find new names for the variables each time.

    Args:
        model: the float model that was built again, of either Keras; its variables are assigned, those of Keras 2 also
            renamed.
        values: one array per variable, in the order of `model.variables`, shaped as it; None, of a metric, leaves one
            as it is.
        names: name of each variable, as "conv/kernel:0"; None where its value is None.
        name: name of the model, for messages.

    Raises:
        ModelError: the model has other variables.
        ValueError: there are more values than names, or fewer.
    """
    held = [variable for variable, value in zip(model.variables, values, strict=False) if value is not None]
    known = [each for each in zip(values, names, strict=True) if each[0] is not None]
    for at, (value, its_name) in enumerate(known):
        shape = tuple(held[at].shape) if at < len(held) else None
        if shape != tuple(value.shape):
            given = None if shape is None else (getattr(held[at], "path", held[at].name), shape)
            raise other_variables(name, its_name, value.shape, given)
    for variable, (value, its_name) in zip(held, known, strict=True):
        variable.assign(value)
        if not is_keras3(model):
            getattr(variable, "_variable", variable)._handle_name = its_name
    for layer in model._flatten_layers():
        if isinstance(layer, version_of(model).layers.Normalization):
            layer.finalize_state()  # it computes with what it made of its variables when it was built


def clone(model: tf_keras.Model) -> tf_keras.Model | None:
    """The model built anew by its own class, with fresh weights; None where its class cannot do so."""
    try:
        with tf_keras.utils.custom_object_scope(own_parts(model)), _building_once():
            made = type(model).from_config(model.get_config())
        if not made.built or not made.variables:
            made(nest_inputs(model, [tf_keras.Input(t.shape[1:], dtype=t.dtype) for t in input_tensors(model)]))
        _build_alike(made, model)
    except CONFIG_ERRORS:
        return None
    name_alike(made, model)
    return made


@contextmanager
def _building_once() -> Iterator[None]:
    """Let a layer that was built from what is written down count as built, as one that was called does: of a class
    whose `build` does not say so itself, the first call would make all variables a second time."""
    layer_class = tf_keras.layers.Layer
    with PATCHING:
        build = layer_class.build_from_config

        def build_and_say(layer: tf_keras.layers.Layer, config: dict[str, Any]) -> None:
            build(layer, config)
            layer.built = layer.built or config.get("input_shape") is not None

        layer_class.build_from_config = build_and_say
        try:
            yield
        finally:
            layer_class.build_from_config = build


def _build_alike(made: tf_keras.Model, model: tf_keras.Model) -> None:
    """Build the layers of `made` that its call at inference does not reach, as those that are called in training."""
    for layer, given in zip(list(made._flatten_layers()), list(model._flatten_layers()), strict=False):
        shape = given._build_input_shape
        if type(layer) is type(given) and given.built and not layer.built and shape is not None:
            layer.build(shape)
