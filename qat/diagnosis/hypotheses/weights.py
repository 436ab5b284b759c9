"""C07, T03, T04: are kernels those of the Keras model? By direction, which BatchNormalization leaves as it is."""

from __future__ import annotations

from collections.abc import Iterator
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
from qat.tflite import read
from qat.tflite.graph import Tensor

COARSE_CODES = 24  # a channel whose largest code is smaller says little about its direction
OTHER_WEIGHTS, SAME_WEIGHTS = 0.6, 0.97  # cosines
MANY = 3  # layers without a partner that are no accident


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
