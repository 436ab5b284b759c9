"""Do the file and the Keras model belong together? By how many weights they hold, then by what these are."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np

from qat.diagnosis.evidence import Evidence
from qat.diagnosis.hypotheses.weights import OTHER_WEIGHTS, measure_cosines
from qat.diagnosis.runs import Conversion
from qat.tflite import TfliteGraph, read

FEWEST = 16  # numbers of a tensor that tells anything
SHARED = 0.5  # of the numbers of both, in tensors of one size, that one model's file has in common with it
SAME_TOTAL = 0.02  # relative difference of the numbers of both, where kernels were joined or divided
WEIGHTS = frozenset({"int2", "int4", "int8", "uint8", "int16", "float16", "float32"})


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
