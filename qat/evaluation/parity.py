"""The deployed file against the fake-quant model it was exported from, output code by output code, on real data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qat import metrics
from qat.codes import QuantParams, quantize
from qat.config import ParityConfig
from qat.data import Split
from qat.evaluation.evaluate import Predictor, predict_split, spread_indices
from qat.results import Parity
from qat.tasks import TASKS


def measure_parity(
    fake_quant: Predictor, deployed: Predictor, output: QuantParams, split: Split, thresholds: ParityConfig, task: str
) -> Parity:
    """Compare a file with its model on `thresholds.samples` of `split`, evenly spread, and with the thresholds.

    Args:
        fake_quant: function of float32 inputs [n, …] to real outputs [n, …]: the Keras model.
        deployed: the same function of its file.
        output: scale and zero point of the file's output, in whose codes both are compared.
        split: samples and labels to compare on.
        thresholds: `parity.*` of the config: shares as 0-1, differences in output codes (LSB).
        task: a key of `TASKS`; without classes there is neither agreement nor accuracy.

    Returns:
        Agreement, shares of equal codes and of codes within 1 LSB, and accuracy gap, all 0-1; the largest difference in
        LSB; which thresholds are broken.
    """
    indices = spread_indices(len(split), thresholds.samples)
    expected, actual = predict_split(fake_quant, split, indices), predict_split(deployed, split, indices)
    distance = compute_lsb_distance(expected, actual, output)
    agreement, gap = 1.0, 0.0
    if TASKS[task].has_classes:
        labels = split.labels[indices]
        agreement = metrics.agreement(metrics.as_scores(expected), metrics.as_scores(actual))
        gap = abs(
            metrics.accuracy(metrics.as_scores(expected), labels) - metrics.accuracy(metrics.as_scores(actual), labels)
        )
    measured = Parity(
        agreement=agreement,
        max_lsb=int(distance.max()),
        exact=float(np.mean(distance == 0)),
        within_1_lsb=float(np.mean(distance <= 1)),
        accuracy_gap=gap,
        samples=len(indices),
        passed=False,
    )
    broken = tuple(find_broken_thresholds(measured, thresholds))
    return replace(measured, passed=not broken, broken=broken)


def compute_lsb_distance(expected: NDArray, actual: NDArray, output: QuantParams) -> NDArray[np.int64]:
    """Distance of two real arrays in codes of `output`.

    >>> params = QuantParams.make(1 / 256, -128, "int8")
    >>> compute_lsb_distance(np.array([0.0, 0.5]), np.array([0.0, 0.51]), params).tolist()
    [0, 3]

    Args:
        expected: real numbers, any shape.
        actual: real numbers of the same shape.
        output: scale and zero point of the output, one for the tensor.

    Returns:
        Difference of the codes in LSB, int64 of the same shape, not negative.
    """
    expected_codes, actual_codes = (quantize(values, output).astype(np.int64) for values in (expected, actual))
    return np.abs(expected_codes - actual_codes)


def find_broken_thresholds(parity: Parity, thresholds: ParityConfig) -> Iterator[str]:
    """The thresholds that do not hold, each with both numbers. One sample never breaks that of the accuracy.

    Args:
        parity: what was measured: shares as 0-1, differences in LSB.
        thresholds: `parity.*` of the config, in the same units.

    Yields:
        One sentence per threshold.
    """
    if parity.agreement < thresholds.min_agreement:
        yield f"agreement {parity.agreement:.4f} is below parity.min_agreement={thresholds.min_agreement}"
    if parity.within_1_lsb < thresholds.min_within_1_lsb:
        option = f"parity.min_within_1_lsb={thresholds.min_within_1_lsb}"
        yield f"{parity.within_1_lsb:.4f} of the output codes are within 1 LSB, below {option}"
    if parity.max_lsb > thresholds.max_lsb:
        yield f"largest difference {parity.max_lsb} LSB, above parity.max_lsb={thresholds.max_lsb}"
    if parity.accuracy_gap > max(thresholds.max_accuracy_gap, 1.001 / parity.samples):
        yield f"accuracy gap {parity.accuracy_gap:.4f} is above parity.max_accuracy_gap={thresholds.max_accuracy_gap}"
