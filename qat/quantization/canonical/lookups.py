"""Layers of Keras that look values up or work on text: no file holds them. Each is one op, to be refused by name.

What follows such a layer can be quantized: `cut_behind` says how to cut the model there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from qat.quantization.canonical.graph import Graph
from qat.quantization.canonical.trace import Reader, Tracer, WholeLayer

LOOKUPS = {
    "StringLookup": "LookupTableFindV2",
    "IntegerLookup": "LookupTableFindV2",
    "TextVectorization": "TextVectorization",
    "Hashing": "Hashing",
    "HashedCrossing": "HashedCrossing",
    "Discretization": "Bucketize",
}


def readers() -> dict[Any, Reader]:
    """The table `call function -> reader`, for the layers of this module."""
    return {getattr(tf_keras.layers, name).call: _standing_for(op) for name, op in LOOKUPS.items()}


def _standing_for(op: str) -> Reader:
    def read(tracer: Tracer, layer: Any, original: Callable, args: tuple, kwargs: dict) -> Any:
        made = original(layer, *args, **kwargs)
        if not isinstance(made, tf.Tensor):  # ragged or sparse
            return made
        mark = tf.compat.v1.placeholder(made.dtype, made.shape, name=f"whole_{op}")
        tracer.whole[mark.op.name] = WholeLayer(f"tf:{op}", [], {}, {"holder": _described(layer)})
        return mark

    return read


def _described(layer: Any) -> str:
    """The layer's class, and how many entries its table has."""
    if not hasattr(layer, "vocabulary_size"):
        return type(layer).__name__
    with tf.init_scope():  # the table is asked, not a graph of it
        return f"{type(layer).__name__} of {int(layer.vocabulary_size())} entries"


def cut_behind(model: tf_keras.Model, graph: Graph) -> str:
    """How to cut the model behind the layers that look something up, as code; nothing where there are none, or where
    they lie inside of another layer."""
    names = dict.fromkeys(node.layer for node in graph.nodes if "holder" in node.attrs)
    if not names or not model._is_graph_network or any(name not in {own.name for own in model.layers} for name in names):
        return ""
    entries = _entries(model, set(names))
    ids = ", ".join(entry for entry in entries if "get_layer" in entry)
    return (
        "\nThe cut: what looks up stays in your code, what computes becomes the file:\n"
        f"  before = tf_keras.Model(model.inputs, [{ids}])\n"
        f"  model = tf_keras.Model([{', '.join(entries)}], model.output)"
    )


def _entries(model: tf_keras.Model, cut: set[str]) -> list[str]:
    """As code, where what remains begins: the outputs of the layers in `cut` and inputs that lead past them, in the
    order of the model's inputs."""
    places = {id(tensor): at for at, tensor in enumerate(model.inputs)}
    found: dict[str, int] = {}
    for tensor in _sources(tf.nest.flatten(model.outputs), set(places), cut):
        layer = tensor._keras_history.layer
        if layer.name in cut:
            behind = _sources(_read_by(tensor), set(places), set())
            found[f"model.get_layer({layer.name!r}).output"] = min(places.get(id(each), 0) for each in behind)
        else:
            found[f"model.inputs[{places[id(tensor)]}]"] = places[id(tensor)]
    return sorted(found, key=found.__getitem__)


def _sources(tensors: list[Any], entries: set[int], cut: set[str]) -> list[Any]:
    """The first tensors on each way back from `tensors` that are in `entries`, by identity, or of a layer in `cut`."""
    found, seen, waiting = [], set(), list(tensors)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if id(tensor) in entries or tensor._keras_history.layer.name in cut:
            found.append(tensor)
        else:
            waiting += _read_by(tensor)
    return found


def _read_by(tensor: Any) -> list[Any]:
    """What the layer call read that made the tensor."""
    history = tensor._keras_history
    return list(history.layer.inbound_nodes[history.node_index].keras_inputs)
