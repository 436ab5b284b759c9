"""Which input and output of a file is which of the Keras model, and which of the app's is which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from qat.diagnosis.runs import FileRunner, run_keras
from qat.diagnosis.score import worst_sqnr_db
from qat.errors import DataError, ModelError
from qat.models.which_keras import input_names
from qat.tflite import TfliteGraph


def find_order(count: int, fits: Callable[[int, int], bool]) -> list[int] | None:
    """Find the order in which every item has its partner, as near to the given one as can be.

    Args:
        count: number of items, and of partners.
        fits: function of two indices from 0: whether item i and partner j belong together.

    Returns:
        The index of each item's partner, [count]; None where no order fits all.
    """
    fitting = np.array([[fits(i, j) for j in range(count)] for i in range(count)], bool).reshape(count, count)
    order = linear_sum_assignment((count + 1) * fitting + np.eye(count), maximize=True)[1]
    return order.tolist() if fitting[np.arange(count), order].all() else None


def check_same_signature(graph: TfliteGraph, model: Any) -> None:
    """Refuse a Keras model that cannot be the file's.

    Args:
        graph: graph of the file, with the shapes of its inputs and outputs.
        model: the Keras model that it is said to be made from.

    Raises:
        ModelError: numbers or shapes of inputs or outputs differ, batch and axes of size 1 left out.
    """
    for which, tensors, expected in (("inputs", graph.inputs, model.inputs), ("outputs", graph.outputs, model.outputs)):
        have = [tuple(t.shape_signature) for t in tensors]
        want = [tuple(-1 if n is None else n for n in tuple(x.shape)) for x in expected]
        remaining = list(have)
        for shape in want:
            partner = next((h for h in remaining if _agree(h, shape)), None)
            if partner is not None:
                remaining.remove(partner)
        if len(have) != len(want) or remaining:
            raise ModelError.about(
                "keras_model",
                f" has {which} of shape {_describe_shapes(want)}, the file has {_describe_shapes(have)}: it is not the "
                "model that this file was made from; give that one, or none",
            )


def _agree(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two shapes are the same but for the batch; sizes that are open fit all."""
    a, b = ([n for n in shape[1:] if n != 1] for shape in (first, second))
    return len(a) == len(b) and all(m == n or -1 in (m, n) for m, n in zip(a, b, strict=True))


def _describe_shapes(of_batches: Iterable[Sequence[int]]) -> str:
    """Shapes of samples, without the batch; a size that is open is shown as ?."""
    return ", ".join(f"[{', '.join('?' if n < 0 else str(n) for n in shape[1:])}]" for shape in of_batches)


def match_inputs(graph: TfliteGraph, model: Any) -> list[int]:
    """Which input of the file is which of the Keras model: by names of the signature or the tensors, else by shapes.

    Args:
        graph: graph of the file.
        model: the Keras model that it was made from.

    Returns:
        Number in the file, from 0, of each Keras input.
    """
    by_name = _indices_of(input_names(model), _signature_names(graph, "inputs"), [t.name for t in graph.inputs])
    if by_name is not None:
        return by_name
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    return _best_order(shapes, [tuple(t.shape_signature[1:]) for t in graph.inputs], lambda a, b: float(a == b))


def match_outputs(graph: TfliteGraph, model: Any, runner: FileRunner, inputs: list[NDArray] | None) -> list[int]:
    """Which output of the file is which of the Keras model: by what they compute, without data by names.

    Args:
        graph: graph of the file.
        model: the Keras model that it was made from.
        runner: what runs the file, its inputs in Keras order.
        inputs: right inputs, one array [N, ...] per input, of which 32 are run; None where there are none.

    Returns:
        Number in the file, from 0, of each Keras output.
    """
    if inputs is not None:
        few = [a[:32] for a in inputs]
        return _best_order(run_keras(model, few), runner.real(few), lambda w, f: max(worst_sqnr_db([w], [f]), -100.0))
    names = _indices_of(list(model.output_names), _signature_names(graph, "outputs"), [])
    return names or runner.output_order


def _best_order(expected: Sequence[Any], actual: Sequence[Any], score: Callable[[Any, Any], float]) -> list[int]:
    if len(expected) != len(actual):
        return list(range(len(expected)))
    table = [[min(score(one, other), 1e6) for other in actual] for one in expected]
    return linear_sum_assignment(table, maximize=True)[1].tolist()


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


def reshape_raw(raw: NDArray, graph: TfliteGraph) -> NDArray:
    """Raw samples in the shape of the file's input, where that holds as many numbers.

    Args:
        raw: raw samples, [N, ...], any dtype.
        graph: graph of a file with one input.

    Returns:
        The samples, [N, ...], reshaped to the input's sizes or as they are.
    """
    shape = graph.inputs[0].shape
    return raw.reshape(len(raw), *shape[1:]) if raw[0].size == int(np.prod(shape[1:])) else raw


def check_inputs(arrays: list[NDArray], graph: TfliteGraph) -> None:
    """Refuse arrays that cannot be inputs of the file.

    Args:
        arrays: one [N, ...] per input, in any order.
        graph: graph of the file, with the shapes of its inputs; -1 where a size is open.

    Raises:
        DataError: another number of arrays, or shapes that the file does not take.
    """
    expected = [t.shape_signature for t in graph.inputs]
    if len(arrays) != len(expected):
        raise DataError(
            f"{len(arrays)} arrays for the model's {len(expected)} inputs; preprocess must return one for each"
        )
    if not fit_file(arrays, graph):
        raise DataError.about(
            "inputs",
            f": a sample has shape {_describe_shapes(a.shape for a in arrays)} as the model gets it, and the file "
            f"takes {_describe_shapes(expected)}. Give samples of that shape, or a function that makes them so as "
            "preprocess",
        )


def fit_file(arrays: Sequence[NDArray], graph: TfliteGraph) -> bool:
    """Whether arrays have the shapes of the file's inputs, in any order.

    Args:
        arrays: one [N, ...] per input.
        graph: graph of the file, with the shapes of its inputs; sizes that it leaves open fit all.

    Returns:
        True where each array has an input of its shape.
    """
    signatures = sorted(tuple(t.shape_signature[1:]) for t in graph.inputs)
    shapes = sorted(tuple(a.shape[1:]) for a in arrays)
    return len(shapes) == len(signatures) and all(
        len(s) == len(g) and all(a in (-1, b) for a, b in zip(s, g, strict=True))
        for s, g in zip(signatures, shapes, strict=True)
    )
