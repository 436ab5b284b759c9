"""Layers of Keras that look values up or work on text: no file holds them. Each is one op, to be refused by name.

What follows such a layer can be quantized: `cut_after` says how to cut the model there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qat.models.keras_types import KerasLayer, KerasModel
from qat.quantization.importing.cut_model import cut_code
from qat.quantization.importing.layer_calls import WholeLayer
from qat.quantization.importing.tracer import Reader, Tracer
from qat.quantization.ir.graph import Graph

LOOKUPS = {
    "StringLookup": "LookupTableFindV2",
    "IntegerLookup": "LookupTableFindV2",
    "TextVectorization": "TextVectorization",
    "Hashing": "Hashing",
    "HashedCrossing": "HashedCrossing",
    "Discretization": "Bucketize",
}


def readers(layers: Any) -> dict[Any, Reader]:
    """The table `call function -> reader`, for those of Keras' own `layers`."""
    return {getattr(layers, name).call: _standing_for(op) for name, op in LOOKUPS.items()}


def _standing_for(op: str) -> Reader:
    def read(tracer: Tracer, layer: KerasLayer, original: Callable, args: tuple, kwargs: dict) -> Any:
        made = original(layer, *args, **kwargs)
        if not isinstance(made, tf.Tensor):  # ragged or sparse
            return made
        mark = tf.compat.v1.placeholder(made.dtype, made.shape, name=f"whole_{op}")
        tracer.whole[mark.op.name] = WholeLayer(f"tf:{op}", [], {}, {"holder": _described(layer)})
        return mark

    return read


def _described(layer: KerasLayer) -> str:
    """The layer's class, and how many entries its table has."""
    if not hasattr(layer, "vocabulary_size"):
        return type(layer).__name__
    with tf.init_scope():  # the table is asked, not a graph of it
        return f"{type(layer).__name__} of {int(layer.vocabulary_size())} entries"


def cut_after(model: KerasModel, graph: Graph) -> str:
    """How to cut the model after the layers that look something up, as code.

    Args:
        model: the Keras model that `graph` was read from.
        graph: its graph; nodes with the attribute `holder` stand for such layers.

    Returns:
        An explanation and two statements, each on a line of its own, with a line break in front. An empty text where
        there are no such layers, or where they lie inside of another.
    """
    names = dict.fromkeys(node.layer for node in graph.nodes if "holder" in node.attrs)
    code = cut_code(model, list(names)) if names else None
    if code is None:
        return ""
    return f"\nThe cut: what looks up stays in your code, what computes becomes the file:\n  {code[0]}\n  {code[1]}"
