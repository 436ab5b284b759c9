"""The layers of the float model by name, as a quantized model gives them: to be frozen, read and set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.models.keras_types import KerasLayer, KerasModel
from qat.quantization.importing.keras_version import is_keras3, version_of
from qat.quantization.keras.misuse import warn_of_set_attribute
from qat.quantization.keras.variables import own_name

if TYPE_CHECKING:
    from qat.quantization.keras.variables import FloatVariables, LayerVariables

Groups = list[list[int]]  # places of a layer's variables; of each group those that are trained now come first


def layers_by_path(model: KerasModel, again: bool = False) -> Iterator[tuple[str, Any]]:
    """Every layer with its path below the model, the model itself first.

    Args:
        model: of either Keras.
        again: whether a layer that several others hold is given under each of its paths; else under the first.

    Yields:
        The path, as "backbone/conv", and the layer; of the model its name.
    """
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", model)]
    while stack:
        path, layer = stack.pop(0)
        known = id(layer) in seen
        if not known or again:
            yield path or layer.name, layer
        if not known:
            seen.add(id(layer))
            inner = layer._flatten_layers(include_self=False, recursive=False)
            stack[:0] = [(f"{path}/{each.name}" if path else each.name, each) for each in inner]


def float_layers(model: KerasModel, name_of: Callable[[str], str]) -> dict[str, Groups]:
    """Which variables each layer has, in the order of its `weights`.

    Args:
        model: the float model, built, of either Keras.
        name_of: function of a layer's path to the name under which it is found.

    Returns:
        Places among `model.variables`, from 0, of the variables of each layer, by its name.
    """
    places = {id(variable): at for at, variable in enumerate(model.variables)}
    metrics = (each for each in model._flatten_layers() if isinstance(each, tf_keras.metrics.Metric))
    for metric in metrics:
        for variable in metric.variables:
            places.pop(id(variable), None)
    found: dict[str, Groups] = {}
    for path, layer in layers_by_path(model, again=True):
        if layer is not model and not isinstance(layer, tf_keras.metrics.Metric):
            found.setdefault(name_of(path), _groups(layer, places))
    return {name: groups for name, groups in found.items() if groups}


def _groups(layer: KerasLayer, places: Mapping[int, int]) -> Groups:
    order = [places[id(each)] for each in layer.weights if id(each) in places]
    if is_keras3(layer):
        return [[place] for place in order]
    now = {places[id(each)] for each in layer.trainable_weights if id(each) in places}
    tree = _without_repeats(_of_tree(layer, places))
    return tree if _in_order(tree, now.__contains__) == order else [[place] for place in order]


def _of_tree(layer: KerasLayer, places: Mapping[int, int]) -> Groups:
    """Keras 2 gives what a model's layers have layer by layer, and what another layer's have trained ones first."""
    own_variables = version_of(layer).own_variables
    if not isinstance(layer, tf_keras.Model):
        held = [each for inner in layer._flatten_layers() for each in own_variables(inner)]
        return [[places[id(each)] for each in held if id(each) in places]]
    inside = layer._flatten_layers(include_self=False, recursive=False)
    own = [places[id(each)] for each in own_variables(layer) if id(each) in places]
    return [*(group for each in inside for group in _of_tree(each, places)), own]


def _without_repeats(groups: Groups) -> Groups:
    seen: set[int] = set()
    kept = []
    for group in groups:
        kept.append([place for place in dict.fromkeys(group) if place not in seen])
        seen.update(group)
    return [group for group in kept if group]


def _in_order(groups: Groups, is_trained: Callable[[int], bool]) -> list[int]:
    return [place for group in groups for place in sorted(group, key=lambda each: not is_trained(each))]


class FloatLayer:
    """A layer of the float model that holds others, or variables that others hold: all of its variables.

    `trainable` is that of the layers inside of it: whether any of them is, and set, of all.

    Args:
        name: under which it was found.
        groups: places of its variables.
        table: of the quantized model.
        computing: the layer that gives an output of the model under this name; None where there is none.
    """

    def __init__(self, name: str, groups: Groups, table: NamedLayers, computing: Any = None) -> None:
        self.name, self._groups, self._table, self._computing = name, groups, table, computing

    def __setattr__(self, name: str, value: Any) -> None:
        """Set `trainable`; of anything else, nothing here computes with it, and a warning says so."""
        if not name.startswith("_") and name not in ("name", "trainable"):
            warn_of_set_attribute(self, name)
        object.__setattr__(self, name, value)

    @property
    def _owners(self) -> list[LayerVariables]:
        """The layers whose variables are all here."""
        variables = self._table.variables
        places = set(chain(*self._groups))
        others = set(chain(*chain(*self._table.layers.values()))) - places
        every = {id(variables.owners[place]): variables.owners[place] for place in sorted(places)}
        return [owner for owner in every.values() if others.isdisjoint(owner.places)]

    def _is_trained(self, place: int) -> bool:
        owner = self._table.variables.owners[place]
        variable = self._table.variables.variables[place]
        return not owner.held_back and any(each is variable for each in owner.trainable_weights)

    @property
    def weights(self) -> list[Any]:
        """All variables, in the order of the float model's layer."""
        held = self._table.variables.variables
        return [self._table.shown(held[place]) for place in _in_order(self._groups, self._is_trained)]

    variables = weights

    @property
    def trainable_weights(self) -> list[Any]:
        """Those of `weights` that are trained now."""
        held = self._table.variables.variables
        places = filter(self._is_trained, _in_order(self._groups, self._is_trained))
        return [self._table.shown(held[place]) for place in places]

    trainable_variables = trainable_weights

    @property
    def non_trainable_weights(self) -> list[Any]:
        """Those of `weights` that are not trained now."""
        trained = set(map(id, self.trainable_weights))
        return [each for each in self.weights if id(each) not in trained]

    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        return any(owner.trainable for owner in self._owners)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if not self._owners:
            owners = self._table.variables.owners
            theirs = {owners[place].name.removesuffix("_variables") for place in chain(*self._groups)}
            raise ValueError(
                f"layer {self.name!r} shares all of its variables with {', '.join(map(repr, sorted(theirs)))}, which "
                "decide whether they are trained: set trainable there"
            )
        for owner in self._owners:
            owner.trainable = bool(value)

    def get_weights(self) -> list[NDArray]:
        """The values of `weights`."""
        return [np.asarray(tf.convert_to_tensor(each)) for each in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign arrays to `weights`, as `get_weights` of the float model's layer gives them.

        Raises:
            ValueError: there are others than these, or of other shapes; nothing was assigned.
        """
        own, given = self.weights, [np.asarray(each) for each in weights]
        if [tuple(each.shape) for each in own] != [each.shape for each in given]:
            raise ValueError(
                f"layer {self.name!r} has weights of shapes {[tuple(each.shape) for each in own]}, and set_weights was "
                f"given {[each.shape for each in given]}: give what get_weights of the float model's layer gives"
            )
        for variable, value in zip(own, given, strict=True):
            variable.assign(value)

    def count_params(self) -> int:
        """How many numbers the variables hold."""
        return sum(int(np.prod(each.shape)) for each in self.weights)

    def get_layer(self, name: str) -> Any:
        """A layer inside of this one, by its name there.

        Raises:
            ValueError: there is no such layer.
        """
        return self._table.layer(f"{self.name}.{name}")

    def __getattr__(self, name: str) -> Any:
        """A variable by its own name, where one alone has it."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("input", "output") and self._computing is not None:
            return getattr(self._computing, name)
        own = [each for each in self.weights if own_name(each.name) == name]
        if len(own) == 1:
            return own[0]
        raise AttributeError(
            f"layer {self.name!r} of a quantization-aware model has no {name!r}, but weights, get_weights, set_weights "
            f"and trainable. {self._table.inside(self.name)}"
        )


class NamedLayers:
    """The layers of a quantized model that have variables, by the names of the float model's.

    Args:
        variables: of the model.
        layers: what `float_layers` gave; None where an earlier version saved the model.
        model: name of the model, for messages.
        shown: function of a variable, or of a `LayerVariables`, to what the user's Keras sees of it.
    """

    def __init__(
        self,
        variables: FloatVariables,
        layers: dict[str, Groups] | None,
        model: str,
        shown: Callable[[Any], Any] = lambda held: held,
    ) -> None:
        self.variables, self.model, self.shown = variables, model, shown
        saved = {layer.name.removesuffix("_variables"): [layer.places] for layer in variables.layers}
        self.layers = saved if layers is None else layers

    def find(self, name: str) -> str | None:
        """The whole name of a layer: this one, or the one that ends in it, where there is one alone; else None."""
        inside = [each for each in self.layers if each.endswith(f".{name}")]
        return name if name in self.layers else inside[0] if len(inside) == 1 else None

    def layer(self, name: str, computing: Any = None) -> Any:
        """The layer of this name.

        Args:
            name: as `find` takes it.
            computing: the layer that gives an output of the model under this name; None where there is none.

        Returns:
            The layer that holds its variables, or, where others hold some of them, a `FloatLayer`.

        Raises:
            ValueError: there is no such layer.
        """
        whole = self.find(name)
        if whole is None:
            raise ValueError(self.no_such(name))
        groups = self.layers[whole]
        owner = self.variables.owners[groups[0][0]]
        held = {id(variable): place for variable, place in zip(owner.held, owner.places, strict=True)}
        is_own = owner.name == whole or owner.name.startswith(f"{whole}_variables")
        if not is_own or [held[id(each)] for each in owner.weights] != list(chain(*groups)):
            return FloatLayer(whole, groups, self, computing)
        return self.shown(owner if computing is None else owner.of_output(computing))

    def no_such(self, name: str) -> str:
        """Why there is no layer of this name, and which names there are."""
        alike = [each for each in self.layers if each.endswith(f".{name}")]
        which = f"; of these names, take one: {', '.join(map(repr, alike))}" if alike else ""
        return f"No such layer: {name!r} in model {self.model!r}{which}. {self.inside()}"

    def inside(self, name: str = "") -> str:
        """Which names there are, of all layers or below one."""
        names = [each for each in self.layers if not name or each.startswith(f"{name}.")]
        where = f"below {name!r}" if name else "of the float model"
        return f"Layers {where} with variables: {', '.join(map(repr, names)) or 'none'}"
