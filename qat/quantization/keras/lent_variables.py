"""Variables that a layer took from another by assignment, `second.kernel = first.kernel`: Keras writes none of it down.

Places are a layer's number among all of a model's layers and its attribute, as [3, "kernel"].
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import tensorflow as tf
import tf_keras

from qat.models.keras_types import KerasLayer

NOTHING_LENT: dict[str, Any] = {"places": [], "weights": {}}


def lent_variables(model: tf_keras.Model) -> dict[str, Any]:
    """What `lend_again` needs, to be written down: `places`, of each variable of several places all of them; `weights`,
    of each layer with such a place, the attributes that are its trainable weights, in order."""
    layers = list(model._flatten_layers())
    places: dict[int, list] = defaultdict(list)
    for number, layer in enumerate(layers):
        for attribute, variable in _held(layer).items():
            places[id(variable)].append([number, attribute])
    several = [each for each in places.values() if len(each) > 1]
    concerned = sorted({number for each in several for number, _ in each})
    return {"places": several, "weights": {str(number): _weights(layers[number]) for number in concerned}}


def lend_again(model: tf_keras.Model, lent: dict[str, Any]) -> None:
    """Make the ties in a model that was built again; those that its classes have made themselves are left alone.

    Args:
        model: the float model, built; its layers get attributes of one another.
        lent: what `lent_variables` gave: for each variable its places, (number of the layer from 0, attribute). A tie
            with a place that this model has not is left out.
    """
    layers = list(model._flatten_layers())
    for places in lent["places"]:
        if any(number >= len(layers) or attribute not in _held(layers[number]) for number, attribute in places):
            continue  # another model: `set_variables` says so
        lender, of_lender = places[0]
        variable = getattr(layers[lender], of_lender)
        borrowing = [each for each in places[1:] if getattr(layers[each[0]], each[1]) is not variable]
        for number, attribute in borrowing:
            setattr(layers[number], attribute, variable)  # Keras forgets what was there
        for number in {number for number, _ in places} if borrowing else ():
            _order_weights(layers[number], lent["weights"][str(number)])


def _order_weights(layer: KerasLayer, names: list[str | None]) -> None:
    held = _held(layer)
    if set(names) <= set(held):
        layer._trainable_weights = [held[name] for name in names if name is not None]


def _held(layer: KerasLayer) -> dict[str, tf.Variable]:
    return {name: value for name, value in vars(layer).items() if isinstance(value, tf.Variable)}


def _weights(layer: KerasLayer) -> list[str | None]:
    """None for a weight that no attribute holds."""
    names = {id(variable): name for name, variable in _held(layer).items()}
    return [names.get(id(variable)) for variable in layer._trainable_weights]
