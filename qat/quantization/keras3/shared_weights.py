"""Keras 3's variables and layers over the variables and layers of a `QatModel`: nothing is copied."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import tensorflow as tf

from qat.quantization.keras.misuse import warn_of_set_attribute
from qat.quantization.keras.variables import LayerVariables, no_attribute


class SharedVariable(keras.Variable):
    """A variable of a tf_keras layer as Keras 3 sees it: the same memory, constraint and trainability.

    Args:
        variable: the layer's.
        owner: the layer, which says whether it is trained now.
    """

    def __init__(self, variable: tf.Variable, owner: Any) -> None:
        self._owner = owner
        self._place = _place_of(variable, owner)
        path = variable.name.split(":")[0]
        super().__init__(variable, dtype=variable.dtype.name, trainable=True, name=path.rsplit("/", 1)[-1])
        self._path = path
        if variable.constraint is not None:
            self.constraint = _constraint(variable.constraint)

    @property
    def trainable(self) -> bool:
        if self._place is not None:
            return self._owner.trains(self._place)
        return any(each is self._value for each in self._owner.trainable_weights)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """Whether this variable alone is trained; setting it on the layer comes after and wins."""
        if bool(value) == self.trainable:
            return
        if self._place is None:
            self._owner_says(f"{self.name}.trainable")
        else:
            self._owner.apart[self._place] = bool(value)

    @property
    def regularizer(self) -> Any:
        return self._regularizer

    @regularizer.setter
    def regularizer(self, value: Any) -> None:
        """Setting it has no effect, and warns: penalties are losses of the model inside."""
        self._owner_says(f"{self.name}.regularizer")

    def _owner_says(self, attribute: str) -> None:
        if isinstance(self._owner, LayerVariables):
            warn_of_set_attribute(self._owner, attribute)


def _place_of(variable: tf.Variable, owner: Any) -> int | None:
    """The place of a variable of the float model that can be trained; None of any other."""
    if not isinstance(owner, LayerVariables):
        return None
    held = zip(owner.places, owner.held, owner.specs, strict=True)
    return next((place for place, each, spec in held if each is variable and spec["trainable"]), None)


def _constraint(of_layer: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[Any], tf.Tensor]:
    return lambda value: of_layer(tf.convert_to_tensor(value))


@contextlib.contextmanager
def _nothing_apart(layer: Any) -> Iterator[None]:
    """Inside, each variable of the layer is trained if the layer is, whatever was set on the variable itself."""
    apart = dict(layer.apart) if isinstance(layer, LayerVariables) else {}
    if apart:
        layer.apart.clear()
    yield
    if apart:
        layer.apart.update(apart)


@keras.saving.register_keras_serializable("qat")
class SharedWeights(keras.layers.Layer):
    """The variables of one layer of a `QatModel`; `trainable` is that of the layer.

    Args:
        layer: of tf_keras, built.
        variables: which of its variables are seen here: those that no other layer has shown before.
    """

    def __init__(self, layer: Any, variables: Iterable[tf.Variable]) -> None:
        object.__setattr__(self, "shared", layer)
        super().__init__(name=layer.name.replace("/", "."), dtype="float32", autocast=False)
        self._trainable = layer.trainable
        object.__setattr__(self, "own", [SharedVariable(variable, layer) for variable in variables])
        with _nothing_apart(layer):  # Keras keeps what is trained before the rest, and files have that order
            for place, shared in enumerate(self.own):
                self._track_variable(shared)
                self._track_trackable(shared, f"variable_{place}")  # for checkpoints and SavedModels of TensorFlow
        self.built = True
        object.__setattr__(self, "finished", True)

    @property
    def layer_name(self) -> str:
        """Name of the float model's layer whose variables these are: an output of the model may have taken it."""
        return self.variables[0].path.rpartition("/")[0].rpartition("/")[2]

    @property
    def trainable(self) -> bool:
        return bool(self.shared.trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.shared.trainable = bool(value)

    def __setattr__(self, name: str, value: Any) -> None:
        if "finished" in self.__dict__ and isinstance(self.shared, LayerVariables):
            self.shared.set_later(name, value)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        """A variable by its own name, as `layer.kernel` is one in the float model."""
        if "own" not in self.__dict__:  # while Keras makes the layer
            raise AttributeError(name)
        found = [each for each in self.own if each.name == name]
        if len(found) == 1:
            return found[0]
        names = [each.name for each in self.own]
        raise AttributeError(no_attribute(self.layer_name or self.name, name, names, "keras"))

    def call(self, inputs: Any) -> Any:
        return inputs
