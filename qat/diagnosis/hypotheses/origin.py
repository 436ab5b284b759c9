"""C07, T03, T04: do the file and the Keras model belong together? By how many weights they hold, then by direction.

BatchNormalization that is folded in leaves the direction of a kernel as it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.codes import dequantize
from qat.diagnosis.catalogue import CONVERT_MEASURED
from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.file_facts import FileFacts
from qat.diagnosis.hypotheses.training import describe_other_start
from qat.diagnosis.runs import Conversion
from qat.tflite import TfliteGraph, read
from qat.tflite.graph import Tensor

FEWEST = 16  # numbers of a tensor that tells anything
SHARED = 0.5  # of the numbers of both, in tensors of one size, that one model's file has in common with it
SAME_TOTAL = 0.02  # relative difference of the numbers of both, where kernels were joined or divided
WEIGHTS = frozenset({"int2", "int4", "int8", "uint8", "int16", "float16", "float32"})
COARSE_CODES = 24  # a channel whose largest code is smaller says little about its direction
OTHER_WEIGHTS, SAME_WEIGHTS = 0.6, 0.97  # cosines
MANY = 3  # layers without a partner that are no accident


def find_other_model(evidence: Evidence) -> str:
    """Find out whether the Keras model has another architecture than the file, in words; empty where it has not.

    Where their weights differ in size, those of a file converted here decide: what is computed from a model's
    variables may be of another size than these.
    """
    if evidence.keras is None:
        return ""
    file, model = _sizes_in_file(evidence.case.graph), _sizes_in_model(evidence)
    if not file or not model or _alike(file, model):
        return ""
    content = evidence.content(Conversion(scheme="float32"))
    if content is None or _alike(file, _sizes_in_file(read(content))):
        return ""
    return (
        f"{_name(evidence)} is not the model that this file was made from: it has {_total(model):,} weights in "
        f"{model.total()} kernels, the file {_total(file):,} in {file.total()}, and {_shared(file, model):.0%} of them "
        "are in kernels of one size. It is left out of what follows. Give the file's own model: keras=FILE (in Python "
        "keras_model=)"
    )


def find_other_training(evidence: Evidence) -> str:
    """Find out whether a file that is as good holds weights of another training, in words; empty where it does not."""
    if evidence.keras is None or evidence.keras_is_qat:
        return ""
    cosines = measure_cosines(evidence.facts, evidence.keras)
    middle = float(np.median([cosine for _, cosine in cosines])) if cosines else 1.0
    if middle >= OTHER_WEIGHTS:
        return ""
    return (
        f"The file does not hold the weights of {_name(evidence)}: the cosine between their kernels is {middle:.2f}, "
        "median over layers, and the same weights give 0.99 and more. It is another training of it"
    )


def _name(evidence: Evidence) -> str:
    given = evidence.case.given_keras
    return str(given) if isinstance(given, (str, Path)) else f"the Keras model {evidence.keras.name!r}"


def _sizes_in_file(graph: TfliteGraph) -> Counter[int]:
    """How many constants have so many numbers; one that is stored twice counts once."""
    tensors = [tensor for subgraph in graph.subgraphs for tensor in subgraph.tensors if _is_weight(tensor)]
    return Counter(size for size, _ in {(tensor.size, bytes(tensor.content)) for tensor in tensors})


def _is_weight(tensor) -> bool:
    return tensor.is_constant and len(tensor.shape) > 1 and tensor.size >= FEWEST and tensor.dtype in WEIGHTS


def _sizes_in_model(evidence: Evidence) -> Counter[int]:
    sizes = [math.prod(variable.shape) for variable in evidence.keras.weights if len(variable.shape) > 1]
    return Counter(size for size in sizes if size >= FEWEST)


def _alike(first: Counter[int], second: Counter[int]) -> bool:
    most = max(_total(first), _total(second))
    return _shared(first, second) >= SHARED or abs(_total(first) - _total(second)) <= SAME_TOTAL * most


def _shared(first: Counter[int], second: Counter[int]) -> float:
    return _total(first & second) / max(_total(first), _total(second), 1)


def _total(sizes: Counter[int]) -> int:
    return sum(size * count for size, count in sizes.items())


# ---- by direction


def find_wrong_weights(evidence: Evidence) -> Hypothesis | None:
    """C07, T03, T04: kernels of another direction than the Keras model's, which BatchNormalization leaves alone."""
    cosines = measure_cosines(evidence.facts, evidence.keras)
    if not cosines:
        return _other_architecture(evidence)
    worst = [each for each in cosines if each[1] < OTHER_WEIGHTS]
    named = ", ".join(f"{layer!r} {cosine:.2f}" for layer, cosine in (worst or cosines)[:6])
    text = f"cosine between the file's kernels and the Keras model's, median over channels: {named}"
    if evidence.facts.trained_quantized and not evidence.keras_is_qat:
        middle = float(np.median([cosine for _, cosine in cosines]))
        return None if middle >= SAME_WEIGHTS else describe_other_start(middle, _measure_growth(evidence), text)
    if worst:
        return Hypothesis(
            "C07", f"{text}; the same checkpoint gives 0.99 and more", CONVERT_MEASURED, 0.97, certain=True
        )
    return None


def _other_architecture(evidence: Evidence) -> Hypothesis | None:
    """C07: not one kernel of the file has the shape of one of the Keras model's."""
    kernels = {kernel.shape for kernel in _kernels(evidence.keras)}
    shapes = [(weight.layer, _rows(weight, op.name)[0]) for op, weight in evidence.facts.weights]
    named = [layer for layer, rows in shapes if rows is not None and rows.shape not in kernels]
    if len(named) < MANY or len(named) < sum(rows is not None for _, rows in shapes):
        return None
    return Hypothesis(
        "C07",
        f"no Keras kernel has the shape of any of the file's ({', '.join(named[:4])}, ...): two architectures",
        "give the model that this file was made from; or convert the one given",
        0.8,
    )


def measure_cosines(facts: FileFacts, model: Any) -> list[tuple[str, float]]:
    """The direction of the file's kernels against the Keras model's, which BatchNormalization folded in leaves alone.

    Args:
        facts: what was read of the file: its weighted ops and their kernels.
        model: the Keras model that the file was made from.

    Returns:
        Pairs (layer, |cosine| 0-1, the median over channels, against the best kernel of that shape), one for each
        weighted op of the file that has a Keras kernel of its shape.
    """
    kernels = list(_kernels(model))
    cosines = []
    for op, weight in facts.weights:
        rows, usable = _rows(weight, op.name)
        if rows is None or usable.sum() == 0 or rows.shape[1] < 4:
            continue
        same = [k for k in kernels if k.shape == rows.shape]
        if same:
            cosine = max(float(np.median(measure_row_cosines(rows[usable], k[usable]))) for k in same)
            cosines.append((weight.layer, cosine))
    return cosines


def _measure_growth(evidence: Evidence) -> float | None:
    """How many times larger than in a float file converted here the kernels of that layer are which grew most.

    Large steps blow up the layers without BatchNormalization; those in front of one, it makes small again.
    """
    content = evidence.content(Conversion(scheme="float32"))
    layers, others = evidence.facts.weights, () if content is None else FileFacts(read(content)).weights
    pairs = zip(layers, others, strict=False)
    sizes = [(_size(w, op.name), _size(v, other.name)) for (op, w), (other, v) in pairs if w.shape == v.shape]
    ratios = [a / b for a, b in sizes if a and b]
    return max(ratios) if ratios and len(layers) == len(others) else None


def _size(weight: Tensor, op: str) -> float:
    rows, _ = _rows(weight, op)
    return 0.0 if rows is None else float(np.median(np.linalg.norm(rows, axis=1)))


def _rows(weight: Tensor, op: str) -> tuple[NDArray | None, NDArray]:
    """Weights as one row for each output channel, and which rows are stored finely enough to compare."""
    data = weight.data
    if data is None:
        return None, np.zeros(0, bool)
    real, codes = to_real_weights(weight), np.abs(data.astype(np.float32))
    if op == "DEPTHWISE_CONV_2D":
        real, codes = np.moveaxis(real, -1, 0), np.moveaxis(codes, -1, 0)
    rows, sizes = real.reshape(len(real), -1), codes.reshape(len(codes), -1)
    enough = sizes.max(axis=1) >= COARSE_CODES if not weight.is_float else np.ones(len(rows), bool)
    return rows, enough & (np.linalg.norm(rows, axis=1) > 1e-9)


def to_real_weights(tensor: Tensor) -> NDArray:
    """The real numbers of a constant, float32, in its shape."""
    return tensor.data.astype(np.float32) if tensor.is_float else dequantize(tensor.data, tensor.quantization)


def _kernels(model: Any) -> Iterator[NDArray]:
    """Every kernel of the model as rows of output channels, in each layout of a file."""
    for variable in model.weights:
        values = np.asarray(variable)
        if values.ndim == 4:
            yield values.transpose(3, 0, 1, 2).reshape(values.shape[3], -1)
            depthwise = values.reshape(*values.shape[:2], -1)
            yield depthwise.transpose(2, 0, 1).reshape(depthwise.shape[2], -1)
            yield values.transpose(2, 0, 1, 3).reshape(values.shape[2], -1)
        elif values.ndim == 3:
            yield values.transpose(2, 0, 1).reshape(values.shape[2], -1)  # of Conv1D, and of attention's last product
            yield values.reshape(len(values), -1).T  # of attention's queries, keys and values, all heads in one
        elif values.ndim == 2:
            yield values.T


def measure_row_cosines(first: NDArray, second: NDArray) -> NDArray:
    """Cosine of each row of one array with the same row of the other, without its sign.

    Args:
        first: float [rows, n].
        second: float [rows, n].

    Returns:
        float [rows], each in 0-1.
    """
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.abs((first * second).sum(axis=1)) / np.maximum(norms, 1e-12)
