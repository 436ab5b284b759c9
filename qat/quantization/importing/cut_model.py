"""How to cut a Keras model in two after certain layers, as code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qat.models.keras_types import KerasModel
from qat.quantization.importing.keras_version import version_of


def cut_code(model: KerasModel, names: list[str]) -> tuple[str, str] | None:
    """The two statements that cut a model after certain layers, `before = ...` and `model = ...`.

    What `before` gives is what the new `model` takes, in this order; inputs that lead past the layers stay among its
    inputs.

    Args:
        model: the Keras model; it stays as it is.
        names: names of its layers after which the cut goes.

    Returns:
        Both statements as Python code. None where the model is no graph of layers, or where a layer is not one of its
        own, but lies inside of another.
    """
    version = version_of(model)
    if not version.is_graph(model) or any(name not in {layer.name for layer in model.layers} for name in names):
        return None
    entries = _entries(model, set(names))
    made = [entry for entry in entries if "get_layer" in entry]
    return (
        f"before = {version.package}.Model(model.inputs, [{', '.join(made)}])",
        f"model = {version.package}.Model([{', '.join(entries)}], model.output)",
    )


def _entries(model: KerasModel, cut: set[str]) -> list[str]:
    """As code, where what remains begins: the outputs of the layers in `cut` and inputs that lead past them, in the
    order of the model's inputs."""
    places = {id(tensor): at for at, tensor in enumerate(model.inputs)}
    source_of = version_of(model).source_of
    found: dict[str, int] = {}
    for tensor in _sources(tf.nest.flatten(model.outputs), set(places), cut, source_of):
        layer, read = source_of(tensor)
        if layer.name in cut:
            sources = _sources(read, set(places), set(), source_of)
            found[f"model.get_layer({layer.name!r}).output"] = min(places.get(id(each), 0) for each in sources)
        else:
            found[f"model.inputs[{places[id(tensor)]}]"] = places[id(tensor)]
    return sorted(found, key=found.__getitem__)


def _sources(tensors: list[Any], entries: set[int], cut: set[str], source_of: Callable) -> list[Any]:
    """The first tensors on each way back from `tensors` that are in `entries`, by identity, or of a layer in `cut`."""
    found, seen, waiting = [], set(), list(tensors)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        layer, read = source_of(tensor)
        if id(tensor) in entries or layer.name in cut:
            found.append(tensor)
        else:
            waiting += read
    return found
