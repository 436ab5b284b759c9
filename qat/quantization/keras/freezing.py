"""What is trained, and how statistics move: what a float model that is built again gets of the quantized one."""

from __future__ import annotations

import keras

from qat.models.keras_types import KerasLayer, KerasModel
from qat.quantization.importing.keras_version import version_of
from qat.quantization.keras.variables import FloatVariables, LayerVariables


def trained_parts(model: KerasModel) -> dict[str, list[bool]]:
    """Which layers and variables of a model are trainable: a class that makes its layers anew makes them all so."""
    return {
        "layers": [bool(layer.trainable) for layer in model._flatten_layers()],
        "variables": [bool(variable.trainable) for variable in model.variables],
    }


def freeze_alike(made: KerasModel, trained: dict[str, list[bool]] | None) -> None:
    """Freeze what was frozen in the model that was quantized.

    Args:
        made: the model that was built anew, of either Keras; with another number of layers they stay as they are.
        trained: what `trained_parts` gave of the other; None where an earlier version saved it.
    """
    layers = list(made._flatten_layers())
    if trained is None or len(layers) != len(trained["layers"]):
        return
    for layer, is_trained in zip(layers, trained["layers"], strict=True):
        layer._trainable = is_trained
    for variable, is_trained in zip(made.variables, trained["variables"], strict=False):
        if isinstance(variable, keras.Variable):  # those of Keras 2 say what their layer says
            variable.trainable = is_trained


def freeze_as_now(made: KerasModel, variables: FloatVariables, order: list[int], is_trained: bool) -> None:
    """Freeze what is frozen in the quantized model by now, and thaw what is trained there.

    Args:
        made: the float model that was built again, with the flags of the one that was quantized; where the quantized
            model has not moved any of them, they stay as they are.
        variables: of the quantized model.
        order: places, from 0, of the variables that can be trained.
        is_trained: whether the quantized model itself is trainable.
    """
    if not is_trained:
        made._trainable = False
    places = {id(variable): place for place, variable in enumerate(made.variables)}
    trained = {place for place in order if is_trained and variables.owners[place].trains(place)}
    owners = [(layer, owner) for layer, owner in _owners(made, variables, places) if layer.trainable != owner.trainable]
    if not owners and {places[id(each)] for each in made.trainable_variables} == trained:
        return
    for layer, owner in _owners(made, variables, places):
        layer._trainable = owner.trainable and not owner.held_back
    for variable in made.variables:
        if isinstance(variable, keras.Variable) and places[id(variable)] in order:
            variable.trainable = variables.owners[places[id(variable)]].trains(places[id(variable)])
    if is_trained:
        every = _owners(made, variables, places)
        _thaw_around(made, {id(layer) for layer, owner in every if trained.intersection(owner.places)})


def set_momentum_as_now(made: KerasModel, variables: FloatVariables) -> None:
    """Give each BatchNormalization the momentum that was set on its layer in the quantized model.

    Args:
        made: the float model that was built again, of either Keras.
        variables: of the quantized model.
    """
    places = {id(variable): place for place, variable in enumerate(made.variables)}
    set_there = {norm.mean_place: norm.norm["momentum"] for norm in variables.norms}
    for layer, owner in _owners(made, variables, places):
        momentum = next((set_there[place] for place in owner.places if place in set_there), None)
        if momentum is not None and getattr(layer, "momentum", momentum) != momentum:
            layer.momentum = momentum


def _owners(
    made: KerasModel, variables: FloatVariables, places: dict[int, int]
) -> list[tuple[KerasLayer, LayerVariables]]:
    """Each layer that has variables of its own, with what holds them in the quantized model; of shared ones, the
    first."""
    found, seen = [], set()
    for layer in made._flatten_layers():
        held = [places[id(each)] for each in version_of(layer).own_variables(layer) if id(each) in places]
        own = [place for place in held if place not in seen and place < len(variables.owners)]
        seen.update(own)
        if own and variables.owners[own[0]] is not None:
            found.append((layer, variables.owners[own[0]]))
    return found


def _thaw_around(made: KerasModel, trained: set[int]) -> None:
    """Let the layers around those that are trained be trainable too: frozen, they would freeze what they hold."""
    for layer in made._flatten_layers():
        if any(id(each) in trained for each in layer._flatten_layers(include_self=False)):
            layer._trainable = True
