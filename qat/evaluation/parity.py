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
from qat.evaluation.evaluate import Predictor, predictions, spread
from qat.results import Parity


def measure_parity(
    fake_quant: Predictor, deployed: Predictor, output: QuantParams, split: Split, bars: ParityConfig, task: str
) -> Parity:
    """Compare on `bars.samples` of `split`, evenly spread, and hold the result against the bars.

    Args:
        fake_quant, deployed: real outputs of the Keras model and of its file.
        output: scale and zero point of the file's output, on whose grid both are compared.
        task: "classification" or "reconstruction"; the second has neither agreement nor accuracy.
    """
    indices = spread(len(split), bars.samples)
    expected, found = predictions(fake_quant, split, indices), predictions(deployed, split, indices)
    distance = lsb_distance(expected, found, output)
    agreement, gap = 1.0, 0.0
    if task == "classification":
        labels = split.labels[indices]
        agreement = metrics.agreement(metrics.as_scores(expected), metrics.as_scores(found))
        gap = abs(
            metrics.accuracy(metrics.as_scores(expected), labels) - metrics.accuracy(metrics.as_scores(found), labels)
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
    broken = tuple(broken_bars(measured, bars))
    return replace(measured, passed=not broken, broken=broken)


def lsb_distance(expected: NDArray, found: NDArray, output: QuantParams) -> NDArray[np.int64]:
    """Distance of two real arrays in codes of `output`.

    >>> lsb_distance(np.array([0.0, 0.5]), np.array([0.0, 0.51]), QuantParams.make(1 / 256, -128, "int8")).tolist()
    [0, 3]
    """
    codes, other = (quantize(values, output).astype(np.int64) for values in (expected, found))
    return np.abs(codes - other)


def broken_bars(parity: Parity, bars: ParityConfig) -> Iterator[str]:
    """The bars that do not hold, each with both numbers. One sample more or less never breaks the accuracy bar."""
    if parity.agreement < bars.min_agreement:
        yield f"agreement {parity.agreement:.4f} is below parity.min_agreement={bars.min_agreement}"
    if parity.within_1_lsb < bars.min_within_1_lsb:
        bar = f"parity.min_within_1_lsb={bars.min_within_1_lsb}"
        yield f"{parity.within_1_lsb:.4f} of the output codes are within 1 LSB, below {bar}"
    if parity.max_lsb > bars.max_lsb:
        yield f"largest difference {parity.max_lsb} LSB, above parity.max_lsb={bars.max_lsb}"
    if parity.accuracy_gap > max(bars.max_accuracy_gap, 1.001 / parity.samples):
        yield f"accuracy gap {parity.accuracy_gap:.4f} is above parity.max_accuracy_gap={bars.max_accuracy_gap}"
