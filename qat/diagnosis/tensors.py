"""Which input and which output of the file belongs to which of the Keras model, and which arrays fit them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.runs import FileRunner, run_keras
from qat.diagnosis.score import worst_sqnr_db
from qat.errors import DataError, ModelError
from qat.tflite import TfliteGraph


def check_same_signature(graph: TfliteGraph, model: Any) -> None:
    """Raises: ModelError where inputs or outputs of the Keras model cannot be those of the file."""
    for which, tensors, wanted in (("inputs", graph.inputs, model.inputs), ("outputs", graph.outputs, model.outputs)):
        have = [tuple(t.shape_signature) for t in tensors]
        want = [tuple(-1 if n is None else n for n in x.shape.as_list()) for x in wanted]
        free = list(have)
        for shape in want:
            partner = next((h for h in free if _agree(h, shape)), None)
            if partner is not None:
                free.remove(partner)
        if len(have) != len(want) or free:
            raise ModelError(
                f"keras_model has {which} {_shapes(want)}, the file has {_shapes(have)}: it is not the model that this "
                "file was made from; give that one, or none"
            )


def _agree(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two shapes are the same but for the batch; sizes that are open fit all."""
    a, b = ([n for n in shape[1:] if n != 1] for shape in (first, second))
    return len(a) == len(b) and all(m == n or -1 in (m, n) for m, n in zip(a, b, strict=True))


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(str(["?" if n < 0 else n for n in shape]) for shape in shapes)


def input_order(graph: TfliteGraph, model: Any) -> list[int]:
    """By the names of the signature or of the tensors, else by shapes."""
    by_name = _indices_of(list(model.input_names), _signature_names(graph, "inputs"), [t.name for t in graph.inputs])
    if by_name is not None:
        return by_name
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    return best_order(shapes, [tuple(t.shape_signature[1:]) for t in graph.inputs], lambda a, b: float(a == b))


def output_order(graph: TfliteGraph, model: Any, runner: FileRunner, inputs: list[NDArray] | None) -> list[int]:
    """By what they compute where there is data, else by the names of the signature."""
    if inputs is not None:
        few = [a[:32] for a in inputs]
        wanted, found = run_keras(model, few), runner.real(few)
        return best_order(wanted, found, lambda w, f: max(worst_sqnr_db([w], [f]), -100.0))
    names = _indices_of(list(model.output_names), _signature_names(graph, "outputs"), [])
    return names or runner.output_order


def best_order(wanted: Sequence[Any], found: Sequence[Any], score: Callable[[Any, Any], float]) -> list[int]:
    """For each wanted item the index of its partner in `found`, by the best total score (up to six items)."""
    indices = range(len(found))
    if len(found) > 6 or len(wanted) != len(found):
        return list(range(len(wanted)))
    table = [[min(score(w, f), 1e6) for f in found] for w in wanted]
    orders = itertools.permutations(indices)
    return list(max(orders, key=lambda order: sum(row[i] for row, i in zip(table, order, strict=True))))


def _signature_names(graph: TfliteGraph, which: str) -> dict[str, int]:
    """Name to index among the file's inputs or outputs."""
    if not graph.signatures:
        return {}
    indices = {t.index: index for index, t in enumerate(getattr(graph, which))}
    return {n: indices[i] for n, i in getattr(graph.signatures[0], which).items() if i in indices}


def _indices_of(names: list[str], signature: dict[str, int], tensor_names: list[str]) -> list[int] | None:
    """Index in the file of each Keras name, if all of them are found."""
    stripped = {n.removeprefix("serving_default_").split(":")[0]: i for i, n in enumerate(tensor_names)}
    for known in (signature, stripped):
        if set(names) <= set(known):
            return [known[n] for n in names]
    return None


def shaped_as(raw: NDArray, graph: TfliteGraph) -> NDArray:
    """Raw samples in the shape of the file's input, where that holds as many numbers."""
    shape = graph.inputs[0].shape
    return raw.reshape(len(raw), *shape[1:]) if raw[0].size == int(np.prod(shape[1:])) else raw


def check_inputs(arrays: list[NDArray], graph: TfliteGraph) -> None:
    """Raises: DataError where these cannot be inputs of the file."""
    wanted = [t.shape_signature for t in graph.inputs]
    if len(arrays) != len(wanted):
        raise DataError(
            f"{len(arrays)} arrays for the model's {len(wanted)} inputs; preprocess must return one for each"
        )
    if not fits(arrays, graph):
        shapes = [list(a.shape[1:]) for a in arrays]
        raise DataError(f"model inputs have shapes {shapes} a sample, the file takes {[list(w[1:]) for w in wanted]}")


def fits(arrays: Sequence[NDArray], graph: TfliteGraph) -> bool:
    """Whether these arrays have the shapes of the file's inputs, in any order."""
    signatures = sorted(tuple(t.shape_signature[1:]) for t in graph.inputs)
    given = sorted(tuple(a.shape[1:]) for a in arrays)
    return len(given) == len(signatures) and all(
        len(s) == len(g) and all(a in (-1, b) for a, b in zip(s, g, strict=True))
        for s, g in zip(signatures, given, strict=True)
    )
