"""What a user's class of models has put into its instance, in plain values for a config, and back."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from qat.errors import ModelError
from qat.models.keras_types import KerasModel
from qat.models.object_configs import describe_object, make_object
from qat.models.which_keras import keras_of
from qat.quantization.keras.custom_training import (
    MissingAttributeError,
    holds_layers,
    is_metric,
    leaves,
    names_in,
    own_classes,
)


def carried_attributes(model: KerasModel, made: KerasModel) -> dict[str, Any]:
    """What else the user's class has put into its instance, in plain values for a config.

    Numbers, texts, lists and dictionaries; metrics, losses and optimizers, of which the quantized model gets its own;
    variables, by their place among the float model's. `{"unknown": ...}` stands for anything else, which only the
    process that quantizes can hand on.

    Args:
        model: the float model, of either Keras; one whose class is Keras' own carries nothing.
        made: the quantized model; what it has by itself is left out.

    Returns:
        Name of each attribute to a dictionary with one key, which says the kind: "value", "list", "tuple",
        "dictionary", "variable" and "seeds" (an integer, the place of the variable or of a seed generator's state),
        "object" or "unknown" (the name of a class).
    """
    classes = own_classes(type(model))
    if not classes:
        return {}
    keras_own = [each for each in keras_of(model).Model.__mro__ if each.__module__.startswith(("keras.", "tf_keras."))]
    known, mentioned = {*vars(made), *names_in(keras_own, stored=True)}, names_in(classes)
    places = {id(variable): at for at, variable in enumerate(model.variables)}
    held = {
        name: value
        for name, value in vars(model).items()
        if name not in known and (not name.startswith("_") or name in mentioned)
    }
    return {name: _describe(value, places) for name, value in held.items() if not holds_layers(value)}


def give_attributes(
    made: KerasModel, attributes: dict[str, Any], variables: Sequence[Any], origin: KerasModel | None = None
) -> None:
    """Put what `carried_attributes` gave into the quantized model.

    Args:
        made: the quantized model, whose attributes are set.
        attributes: what `carried_attributes` gave. What is unknown raises an error when it is read, unless `origin` is
            given.
        variables: copies of the float model's variables, in its order.
        origin: the float model, where this process has it; None where not.

    Raises:
        ModelError: a name is one that every model has, as only a damaged file says.
    """
    copied = {} if origin is None else _copies(origin, made, variables)
    for name, config in attributes.items():
        if name.startswith("__") or (origin is None and "unknown" in config and _has_own(type(made), name)):
            raise ModelError(f"attribute {name[:200]!r} is in the file as the user's, and every model has one")
        value = _read(config, variables)
        if value is not _UNKNOWN:
            _give(made, name, value)
        elif origin is not None:
            _give(made, name, _own_copy(getattr(origin, name), copied))
        else:
            setattr(type(made), name, _Unsaved(name, config.get("unknown", "of a kind that is not known here")))


def _has_own(kind: type, name: str) -> bool:
    """Whether a class has an attribute of its own, and not one that no file holds."""
    value = getattr(kind, name, None)
    return value is not None and not isinstance(value, _Unsaved)


def _give(made: KerasModel, name: str, value: object) -> None:
    """Metrics must be seen by Keras, variables must not: they are counted where they are held already."""
    if any(map(is_metric, leaves(value))):
        setattr(made, name, value)
    else:
        object.__setattr__(made, name, value)


def _copies(origin: KerasModel, made: KerasModel, variables: Sequence[Any]) -> dict[int, Any]:
    """What stands for the float model and its variables in a copy of anything that holds them, by their identity."""
    pairs = [(theirs, own) for theirs, own in zip(origin.variables, variables, strict=True) if own is not None]
    pairs += [(theirs._value, own._value) for theirs, own in pairs if isinstance(theirs, keras.Variable)]
    return {id(theirs): own for theirs, own in [(origin, made), *pairs]}


def _own_copy(value: object, copied: Mapping[int, Any]) -> Any:
    """A copy, so that state in it (variables, generators of random numbers, arrays) is not the float model's; the value
    itself where it cannot be copied, as a data set or a module."""
    if isinstance(value, Mapping):
        return {key: _own_copy(each, copied) for key, each in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):  # also the lists that Keras tracks
        return (tuple if isinstance(value, tuple) else list)(_own_copy(each, copied) for each in value)
    try:
        return copy.deepcopy(value, dict(copied))
    except Exception:  # objects of any class, which raise what they will
        return value


class _Unsaved:
    """An attribute that no file holds, until it is set."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind

    def __get__(self, instance: KerasModel | None, owner: type | None = None) -> Any:
        if instance is None:
            return self
        raise MissingAttributeError(
            f"model {instance.name!r}: attribute {self.name} ({self.kind}) of the float model's class is in no file: "
            f"set model.{self.name} before the model is trained further"
        )


_UNKNOWN = object()
_PLAIN = (bool, int, float, str, type(None))


def _describe(value: object, places: dict[int, int]) -> Any:
    if isinstance(value, _PLAIN):
        return {"value": value}
    if isinstance(value, np.generic):
        return {"value": value.item()}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dictionary": {key: _describe(each, places) for key, each in value.items()}}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return {"tuple" if isinstance(value, tuple) else "list": [_describe(each, places) for each in value]}
    if id(value) in places:
        return {"variable": places[id(value)]}
    if isinstance(value, keras.random.SeedGenerator) and id(value.state) in places:
        return {"seeds": places[id(value.state)]}
    config = describe_object(value)
    if config is not None:
        return {"object": config}
    return {"unknown": type(value).__name__}


def _read(config: dict[str, Any], variables: Sequence[Any]) -> Any:
    ((form, value),) = config.items()
    if form == "value":
        return value
    if form == "variable":
        return variables[value]
    if form == "seeds":
        seeds = keras.random.SeedGenerator(0)
        seeds.state = variables[value]
        return seeds
    if form == "object":
        made = make_object(value)
        return _UNKNOWN if made is None else made
    if form == "dictionary":
        found = {key: _read(each, variables) for key, each in value.items()}
        return _UNKNOWN if any(each is _UNKNOWN for each in found.values()) else found
    if form in ("list", "tuple"):
        parts = [_read(each, variables) for each in value]
        return _UNKNOWN if any(each is _UNKNOWN for each in parts) else {"list": list, "tuple": tuple}[form](parts)
    return _UNKNOWN
