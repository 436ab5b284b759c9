"""What a case of the zoo becomes: float function kept, file integer-only, near float and near the simulation."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from qat import metrics
from qat.codes import QuantParams, quantize
from qat.errors import TfliteFileError
from qat.quantization import quantize_model
from qat.quantization.importing.model_inputs import nest_inputs
from qat.quantization.ir.interpret import run
from qat.quantization.rewrites import canonicalize
from qat.tflite import Interpreter, convert, verify

from .departures import first_departure
from .drawing import draw

CALIBRATION_ROWS, ROWS = 64, 128


@dataclass(frozen=True)
class Row:
    """`exact` and `within_1_lsb` are of the better of the two kernel sets; `sqnr_db` of the worst output."""

    integer_only: bool
    float_error: float
    sqnr_db: float
    ptq_sqnr_db: float  # NaN where the converter refuses, or its file does not run
    exact: float
    within_1_lsb: float
    largest_lsb: int
    seconds: float
    departs: str  # which layer does first, and in which codes; empty where every code is equal


def flat(outputs) -> list[np.ndarray]:
    return [np.asarray(value) for value in tf.nest.flatten(outputs)]


def float_outputs(model, inputs) -> list[np.ndarray]:
    return flat(model(nest_inputs(model, [tf.constant(array) for array in inputs]), training=False))


def canonical_error(model, inputs) -> float:
    """Largest relative error of the canonical form's float outputs, over all outputs."""
    found = run(canonicalize(model), [tf.constant(array) for array in inputs])
    return max(relative_error(a, b.numpy()) for a, b in zip(float_outputs(model, inputs), found, strict=True))


def relative_error(expected: np.ndarray, found: np.ndarray) -> float:
    """Largest absolute difference over the largest absolute value.

    >>> relative_error(np.array([2.0, -4.0]), np.array([2.0, -3.9]))
    0.025000000000000022
    """
    assert expected.shape == found.shape, f"shape {found.shape}, expected {expected.shape}"
    return float(np.max(np.abs(expected - found)) / max(np.max(np.abs(expected)), 1e-6))


def _sqnr(reference: list[np.ndarray], found: list[np.ndarray]) -> float:
    return min(metrics.sqnr_db(a, b) for a, b in zip(reference, found, strict=True))


def ptq_sqnr(model, calibration, inputs, reference) -> float:
    try:
        content = convert(model, calibration=calibration, engine="tflite")
        found = flat(Interpreter(content).predict(list(inputs)))
    except Exception:
        return float("nan")
    return _sqnr(reference, found)


def lsb_distances(interpreter: Interpreter, expected: list[np.ndarray], found: list[np.ndarray]) -> np.ndarray:
    """Distances in codes, of all outputs."""
    parts = []
    for tensor, a, b in zip(_outputs(interpreter), expected, found, strict=True):
        if tensor.quantization is not None:
            a, b = (quantize(values, tensor.quantization) for values in (a, b))
        parts.append(np.abs(a.astype(np.int64) - b.astype(np.int64)).reshape(-1))
    return np.concatenate(parts)


def _outputs(interpreter: Interpreter):
    """The file's outputs in the order of `tf.nest.flatten`: dictionaries come by key."""
    return interpreter.outputs


def measure(model, seed: int, with_ptq: bool = True) -> Row:
    start = time.perf_counter()
    calibration, inputs = draw(model, CALIBRATION_ROWS, seed + 1), draw(model, ROWS, seed + 2)
    error = canonical_error(model, inputs)
    reference = float_outputs(model, inputs)
    quantized = quantize_model(model, calibration)
    content = convert(quantized, allow_float=True)
    seconds = time.perf_counter() - start
    proof = verify(content)
    expected = flat(quantized.predict(nest_inputs(quantized, inputs), verbose=0))
    best, of_reference = None, False
    for reference_kernels in (False, True):
        try:
            interpreter = Interpreter(content, reference_kernels=reference_kernels)
        except TfliteFileError:  # the reference kernels lack DEPTH_TO_SPACE
            if best is None:
                raise
            break
        deployed = flat(interpreter.predict(inputs))
        distance = lsb_distances(interpreter, expected, deployed)
        if best is None or (distance == 0).mean() > (best == 0).mean():
            best, of_reference = distance, reference_kernels
        if reference_kernels is False:
            sqnr = _sqnr(reference, deployed)
        if np.mean(best == 0) == 1.0:
            break
    return Row(
        integer_only=proof.integer_only,
        float_error=error,
        sqnr_db=sqnr,
        ptq_sqnr_db=ptq_sqnr(model, calibration, inputs, reference) if with_ptq else float("nan"),
        exact=float(np.mean(best == 0)),
        within_1_lsb=float(np.mean(best <= 1)),
        largest_lsb=int(best.max()),
        seconds=seconds,
        departs=first_departure(quantized, content, inputs, reference_kernels=of_reference) if best.any() else "",
    )


def params_of(interpreter: Interpreter, index: int) -> QuantParams:
    return interpreter.outputs[index].quantization
