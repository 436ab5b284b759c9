"""Model inputs where nobody said how training made them: which usual normalisation serves best?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.normalisations import applicable, normalised
from qat.diagnosis.yardstick import Outputs, Yardstick
from qat.errors import DataError
from qat.tflite import TfliteGraph

SAMPLES = 256
CLEARLY = 0.03  # of accuracy, by which another normalisation must beat the one that the file's input range says


def likeliest(raw: NDArray, labels: NDArray | None, run: Callable[[list[NDArray]], Outputs], guess: str) -> str:
    """The normalisation under which the labels are met best; without labels, the guess."""
    if labels is None:
        return guess
    score = {}
    for name in sorted(applicable(raw), key=lambda each: each != guess):
        outputs = run([normalised(raw[:SAMPLES], name)])
        score[name] = Yardstick(labels[:SAMPLES], None, True).value(outputs)
    best = max(score, key=score.get)
    return best if guess not in score or score[best] > score[guess] + CLEARLY else guess


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
