"""Names of a quantized model's layers: each is there once, also where the float model's are like those of parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from qat.errors import ModelError
from qat.quantization.ir.graph import Graph
from qat.quantization.placement import QuantSpec


def keras_name(name: str) -> str:
    """A node's name as a Keras layer name."""
    return re.sub(r"[^A-Za-z0-9_.-]", ".", name)


def range_name(quant_spec: QuantSpec) -> str:
    """The Keras name of a range's layer."""
    return f"{part_name(quant_spec.name, quant_spec.layer)}--range"


def part_name(name: str, layer: str) -> str:
    """What a node is called below its Keras layer, by whose name alone `qat.tflite.graph.layer_name` knows it again.

    Args:
        name: name of the node, as "encoder/conv/BiasAdd".
        layer: path of the Keras layer that it belongs to; "" where it belongs to none.

    Returns:
        A Keras layer name: the layer's, with "--" and the rest of the node's after it, if there is any.

    >>> part_name("encoder/conv/BiasAdd", "encoder/conv")
    'encoder.conv--BiasAdd'
    """
    own, rest = (layer, name[len(layer) + 1 :]) if layer and name.startswith(f"{layer}/") else (name, "")
    return keras_name(own) + (f"--{keras_name(rest)}" if rest else "")


def names_in_nest(graph: Graph) -> list[str]:
    """Names for the outputs of a subclassed model, which has none: the keys of its dictionary, or their places."""
    flat = isinstance(graph.nest, dict) and all(isinstance(place, int) for place in graph.nest.values())
    if flat and sorted(graph.nest.values()) == list(range(len(graph.outputs))):
        return [keras_name(str(key)) for key in sorted(graph.nest, key=graph.nest.get)]
    return [f"output_{i}" for i in range(len(graph.outputs))]


def free_name(name: str, names: set[str]) -> str:
    """The name, or one that begins with it, that is none of `names`; it is one of them afterwards.

    Args:
        name: the name that is wanted.
        names: those that are taken.

    Returns:
        The name, with "_variables" and a number from 2 after it where that is needed.
    """
    candidate, count = name, 0
    while candidate in names:
        count += 1
        candidate = f"{name}_variables" if count == 1 else f"{name}_variables_{count}"
    names.add(candidate)
    return candidate


def name_of_given(name: str) -> str:
    """For an output that is an input, as a scope of TensorFlow's may be called."""
    kept = re.sub(r"[^\w.>/-]", "_", f"{name}_output")
    return kept if kept[0].isalnum() else f"input{kept}"


def name_apart(layers: Iterable[Any], others: Iterable[Any]) -> None:
    """Give layers that hold variables other names where parts of the graph have theirs.

    Args:
        layers: in no model yet; they are renamed.
        others: the layers of the graph.
    """
    taken = {each.name for each in others}
    clashing = [each for each in layers if each.name in taken]
    taken |= {each.name for each in layers}
    for layer in clashing:
        layer._name = free_name(layer.name, taken)


def refuse_same_names(model: str, given: Iterable[str], tensors: Iterable[Any]) -> None:
    """Raise where an input or output has the name of a part of the graph.

    Args:
        model: name of the float model.
        given: names of its inputs and outputs.
        tensors: of the graph, one of each of its layers at least.

    Raises:
        ModelError: two layers have one name.
    """
    layers = {id(each._keras_history.layer): each._keras_history.layer for each in tensors if _is_of_keras(each)}
    counts = Counter(each.name for each in layers.values())
    twice = [name for name in given if counts[name] > 1]
    if twice:
        raise ModelError(
            f"model {model!r}: {', '.join(map(repr, twice))} is the name of one of its inputs or outputs, and of a "
            "part that the quantized model has. Name that input, or the layer that gives that output, otherwise"
        )


def _is_of_keras(tensor: Any) -> bool:
    return hasattr(tensor, "_keras_history")
