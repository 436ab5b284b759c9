"""The variables of a float model, copied into the quantization-aware model that is being built."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from qat.models.keras_types import KerasLayer, KerasModel
from qat.quantization.importing.keras_version import dtype_of, version_of
from qat.quantization.ir.preserved_kernels import PreservedEntries
from qat.quantization.keras.constraints import write_constraint
from qat.quantization.keras.float_layers import layers_by_path
from qat.quantization.keras.misuse import layer_settings
from qat.quantization.keras.names import free_name
from qat.quantization.keras.variables import LayerVariables, being_built


def copy_variables(
    model: KerasModel,
    taken: set[str],
    name_of: Callable[[str], str],
    kept: Mapping[int, PreservedEntries],
    assigned: frozenset[int] = frozenset(),
) -> tuple[list[LayerVariables], list[int]]:
    """Copies of the variables of `model`, in the table that is being built.

    Args:
        model: the float model, built, of either Keras; it stays as it is.
        taken: names that other layers of the new model have.
        name_of: function of a layer's path to the name of a Keras layer.
        kept: place of a variable, from 0, to the entries of it that stay as they are.
        assigned: places of the variables that training assigns.

    Returns:
        A layer for each of the model's layers with variables of its own, and the places, from 0, of all that can be
        trained, in the order of the model's `trainable_variables`.
    """
    version = version_of(model)
    places = {id(variable): at for at, variable in enumerate(model.variables)}
    trained = version.trained_places(model)
    known: set[int] = set()
    now = {id(variable) for variable in model.trainable_variables}
    layers, names = [], set(taken)
    for path, layer in layers_by_path(model):
        if isinstance(layer, tf_keras.metrics.Metric):
            known.update(map(id, layer.variables))
            continue
        own = [v for v in version.own_variables(layer) if id(v) in places]
        own = [v for v in dict((id(v), v) for v in own).values() if id(v) not in known]
        if not own:
            continue
        known.update(map(id, own))
        being_built().settings += layer_settings(layer, own, places, trained | assigned)
        layers.append(_copied(layer, own, places, trained, free_name(name_of(path), names), kept))
        held = {id(v) for v in own if places[id(v)] in trained}
        object.__setattr__(layers[-1], "held_back", bool(layer.trainable and held and not held & now))
    rest = [v for v in model.variables if id(v) not in known]
    if rest:
        layers.append(_copied(model, rest, places, trained, free_name("other_variables", names), kept))
    return layers, _training_order(model, places)


def _copied(
    layer: KerasLayer,
    own: list[Any],
    places: dict[int, int],
    trained: frozenset[int],
    name: str,
    kept: Mapping[int, PreservedEntries],
) -> LayerVariables:
    name_of = version_of(layer).name_of
    specs = [
        {
            "place": places[id(variable)],
            "name": name_of(variable),
            "shape": list(variable.shape),
            "dtype": dtype_of(variable).name,
            "trainable": places[id(variable)] in trained,
            "constraint": write_constraint(getattr(variable, "constraint", None), version_of(layer).package),
            "keras": version_of(layer).package,
        }
        for variable in own
    ]
    for spec in specs:
        if spec["place"] in kept:
            spec["kept"] = kept[spec["place"]].to_json()
    made = LayerVariables(
        specs,
        values=[tf.convert_to_tensor(variable) for variable in own],
        constraints=[getattr(variable, "constraint", None) for variable in own],
        name=name,
        dtype="float32",
    )
    made.trainable = bool(layer.trainable)
    object.__setattr__(made, "theirs", (weakref.ref(layer), made.trainable))
    return made


def _training_order(model: KerasModel, places: dict[int, int]) -> list[int]:
    """Places of all variables that can be trained: the order in which the model gives those that are."""
    version = version_of(model)
    trained = version.trained_places(model)
    held = [v for layer in model._flatten_layers() for v in version.own_variables(layer)]
    every = [places[id(v)] for v in dict((id(v), v) for v in held).values() if id(v) in places]
    every = [place for place in every if place in trained]
    now = [places[id(v)] for v in model.trainable_variables if id(v) in places]
    kept = set(now)
    if [place for place in every if place in kept] == now:
        return every
    return now + [place for place in every if place not in kept]
