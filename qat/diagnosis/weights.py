"""Are the file's weights those of the Keras model? Cosines per output channel, which BatchNorm folding leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.codes import dequantize
from qat.diagnosis.facts import Facts
from qat.tflite.graph import Tensor

COARSE_CODES = 24  # a channel whose largest code is smaller says little about its direction


@dataclass(frozen=True)
class LayerCosine:
    layer: str
    cosine: float  # median over channels of |cos|, against the best kernel of that shape
    channels: int


def layer_cosines(facts: Facts, model: Any) -> list[LayerCosine]:
    """One entry for each weighted op of the file that has a Keras kernel of its shape."""
    kernels = [k for k in _kernels(model)]
    found = []
    for op, weight in facts.weights:
        rows, usable = _rows(weight, op.name)
        if rows is None or usable.sum() == 0 or rows.shape[1] < 4:
            continue
        same = [k for k in kernels if k.shape == rows.shape]
        if same:
            cosine = max(float(np.median(_cosines(rows[usable], k[usable]))) for k in same)
            found.append(LayerCosine(weight.layer, cosine, int(usable.sum())))
    return found


def strangers(facts: Facts, model: Any) -> list[str]:
    """Weighted layers of the file for which the Keras model has no kernel of that shape; empty if it has any at all."""
    kernels = {kernel.shape for kernel in _kernels(model)}
    rows = [(weight.layer, _rows(weight, op.name)[0]) for op, weight in facts.weights]
    known = [(layer, each.shape) for layer, each in rows if each is not None]
    return [] if any(shape in kernels for _, shape in known) else [layer for layer, _ in known]


def growth(facts: Facts, reference: Facts) -> float | None:
    """How much larger the kernels are than those of the same layers of a float file, the median over layers."""
    pairs = zip(facts.weights, reference.weights, strict=False)
    sizes = [(_size(w, op.name), _size(v, other.name)) for (op, w), (other, v) in pairs if w.shape == v.shape]
    ratios = [a / b for a, b in sizes if a and b]
    return float(np.median(ratios)) if ratios and len(facts.weights) == len(reference.weights) else None


def _size(weight: Tensor, op: str) -> float:
    rows, _ = _rows(weight, op)
    return 0.0 if rows is None else float(np.median(np.linalg.norm(rows, axis=1)))


def _rows(weight: Tensor, op: str) -> tuple[NDArray | None, NDArray]:
    """Weights as one row for each output channel, and which rows are stored finely enough to compare."""
    data = weight.data
    if data is None:
        return None, np.zeros(0, bool)
    real = data.astype(np.float32) if weight.is_float else dequantize(data, weight.quantization)
    codes = np.abs(data.astype(np.float32))
    if op == "DEPTHWISE_CONV_2D":
        rows, sizes = np.moveaxis(real, -1, 0), np.moveaxis(codes, -1, 0)
    else:
        rows, sizes = real, codes
    rows, sizes = rows.reshape(len(rows), -1), sizes.reshape(len(sizes), -1)
    enough = sizes.max(axis=1) >= COARSE_CODES if not weight.is_float else np.ones(len(rows), bool)
    return rows, enough & (np.linalg.norm(rows, axis=1) > 1e-9)


def _kernels(model: Any) -> Iterator[NDArray]:
    """Every kernel of the model as rows of output channels, in each layout that it may have in a file."""
    for variable in model.weights:
        values = np.asarray(variable)
        if values.ndim == 4:
            yield values.transpose(3, 0, 1, 2).reshape(values.shape[3], -1)
            depthwise = values.reshape(*values.shape[:2], -1)
            yield depthwise.transpose(2, 0, 1).reshape(depthwise.shape[2], -1)
            yield values.transpose(2, 0, 1, 3).reshape(values.shape[2], -1)
        elif values.ndim == 3:
            yield values.transpose(2, 0, 1).reshape(values.shape[2], -1)
        elif values.ndim == 2:
            yield values.T


def _cosines(first: NDArray, second: NDArray) -> NDArray:
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.abs((first * second).sum(axis=1)) / np.maximum(norms, 1e-12)
