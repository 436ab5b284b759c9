"""How good outputs are, and whether one set of them is worse than another by more than luck: paired statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qat.metrics import mcnemar_p, wilson_interval

POINTS = 0.02  # a drop of accuracy or agreement below this is no fault, however certain
CHANCE = 0.01  # of a drop by luck alone (exact McNemar)
LARGE_POINTS, LARGE_CHANCE = 0.03, 0.03  # a larger drop needs less proof
OTHER_POINTS = 0.12  # of agreement in an output that has no labels: rounding alone changes a few classes
FAULT_DB = 15.0  # SQNR of real-valued outputs below which there is a fault
GAIN_DB = 6.0  # and a sound file must be better by so much
SUM_TO_ONE = 0.05  # by which rows of probabilities may miss it
DECIDED = 0.5  # of a score of one class

Outputs = list[NDArray]


@dataclass(frozen=True)
class Drop:
    """What is lost from `reference` to `value`; `points` in units of the score."""

    reference: float
    value: float
    points: float
    p: float
    significant: bool
    unit: str = ""  # where it is not the score's own

    def text(self, unit: str) -> str:
        unit = self.unit or unit
        if unit.startswith("dB"):
            return f"{self.value:.1f} {unit}"
        return f"{self.reference:.1%} to {self.value:.1%} ({unit}, p = {self.p:.2g})"


class OutputScore:
    """Scores lists of outputs, Keras order, by the labels of the first, or by what the reference computed."""

    def __init__(self, labels: NDArray | None, reference: Outputs | None, classifies: bool) -> None:
        self.labels = labels
        self.reference = reference
        self.classifies = classifies
        self.unit = "dB" if not classifies else "accuracy" if labels is not None else "agreement"

    @cached_property
    def others(self) -> list[tuple[int, OutputScore]]:
        """Each output after the first, to be measured against the reference: labels belong to the first."""
        if self.reference is None or self.unit == "dB":
            return []
        return [
            (index, OutputScore(None, [each], are_probabilities(each)))
            for index, each in enumerate(self.reference)
            if index
        ]

    def is_right(self, outputs: Outputs) -> NDArray[np.bool_]:
        """One truth value per sample; unusable outputs are wrong."""
        predicted = predicted_labels(outputs[0])
        expected = self.labels if self.labels is not None else predicted_labels(self.reference[0])
        return predicted == expected

    def value(self, outputs: Outputs) -> float:
        if self.unit == "dB":
            return worst_sqnr_db(self.reference, outputs)
        return float(self.is_right(outputs).mean())

    def interval(self, outputs: Outputs) -> tuple[float, float] | tuple[None, None]:
        if self.unit == "dB":
            return None, None
        is_right = self.is_right(outputs)
        return wilson_interval(int(is_right.sum()), len(is_right))

    def drop(self, better: Outputs, worse: Outputs) -> Drop:
        """What is lost from one set of outputs to another.

        Args:
            better: outputs of the better one, Keras order, each float [N, ...].
            worse: outputs of the worse one for the same N samples.

        Returns:
            The drop in the score's unit: significant by McNemar's exact test, in dB by `FAULT_DB` and `GAIN_DB`.
        """
        first, second = self.value(better), self.value(worse)
        if self.unit == "dB":
            significant = second < FAULT_DB and first > second + GAIN_DB
            return Drop(first, second, first - second, 0.0 if significant else 1.0, significant)
        p = mcnemar_p(self.is_right(better), self.is_right(worse))
        points = first - second
        significant = (points >= POINTS and p < CHANCE) or (points >= LARGE_POINTS and p < LARGE_CHANCE)
        if not significant and (lossy := self._lossy_other(better, worse)) is not None:
            index, other = lossy
            return replace(other.drop([better[index]], [worse[index]]), unit=f"{other.unit} of output {index}")
        return Drop(first, second, points, p, significant)

    def _lossy_other(self, better: Outputs, worse: Outputs) -> tuple[int, OutputScore] | None:
        if len(better) != len(worse):
            return None
        for index, other in self.others:
            drop = other.drop([better[index]], [worse[index]])
            if drop.significant and (other.unit == "dB" or drop.points > OTHER_POINTS):
                return index, other
        return None

    def recovered(self, target: Outputs, broken: Outputs, repaired: Outputs) -> float:
        """Share of the loss that is gone; of noise power where the unit is dB.

        Args:
            target: outputs without loss, Keras order, each float [N, ...].
            broken: outputs with the loss, of the same shapes.
            repaired: outputs after a repair, of the same shapes.

        Returns:
            Share of the loss: 1 where all of it is gone, 0 where none is; below 0 where it got worse, above 1 where
            better than target.
        """
        lossy = self._lossy_other(target, broken) if self.unit != "dB" else None
        if lossy is not None and self.value(target) - self.value(broken) < POINTS:
            index, other = lossy
            return other.recovered([target[index]], [broken[index]], [repaired[index]])
        best, before, after = self.value(target), self.value(broken), self.value(repaired)
        if self.unit == "dB":
            if math.isinf(after) and after > 0:
                return 1.0
            return 1 - 10 ** ((before - after) / 10) if math.isfinite(before) else float(after > FAULT_DB)
        return (after - before) / (best - before) if best > before else 0.0


def are_probabilities(values: NDArray) -> bool:
    """Whether each row [N, C] is a distribution over classes."""
    if values.ndim != 2 or values.shape[1] < 2:
        return False
    return bool((values >= -1e-3).all() and np.abs(values.sum(axis=1) - 1).max() < SUM_TO_ONE)


def predicted_labels(values: NDArray) -> NDArray:
    """Class of each sample from scores [N, C], one score [N, 1], or labels [N]; NaN scores give class -1."""
    values = np.asarray(values)
    if values.ndim == 1:
        return values.astype(np.int64) if values.dtype.kind in "iub" else (values > DECIDED).astype(np.int64)
    scores = values.reshape(len(values), -1)
    if scores.shape[1] == 1:
        return (scores[:, 0] > DECIDED).astype(np.int64)
    usable = np.isfinite(scores.astype(np.float64)).all(axis=1)
    return np.where(usable, np.argmax(scores, axis=1), -1)


def _column_sqnr_db(reference: NDArray, noisy: NDArray) -> NDArray:
    """SQNR of each column of the last axis, in dB; what is not finite counts as no signal at all."""
    wide = reference.ndim > 2 or (reference.ndim == 2 and reference.shape[1] <= 16)
    shape = (-1, reference.shape[-1]) if wide else (-1, 1)
    signal, other = reference.astype(np.float64).reshape(shape), noisy.astype(np.float64).reshape(shape)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        power, noise = np.mean(signal**2, axis=0), np.mean((signal - other) ** 2, axis=0)
        decibels = 10 * np.log10(power / noise)
    decibels = np.where(noise == 0, np.inf, decibels)
    decibels = np.where(np.isfinite(noise), decibels, -100.0)
    return decibels[power > 1e-12 * max(float(power.max(initial=0)), 1e-30)]


def worst_sqnr_db(reference: Outputs, outputs: Outputs) -> float:
    """SQNR of the worst column of the worst output: boxes that are right do not hide scores that are wrong.

    Args:
        reference: outputs without noise, each float [N, ...].
        outputs: the same outputs with noise, of the same shapes.

    Returns:
        SQNR in dB; -100 where shapes differ or values are not finite, infinite where all are equal.
    """
    worst = math.inf
    for expected, actual in zip(reference, outputs, strict=True):
        if expected.shape != actual.shape:
            return -100.0
        columns = _column_sqnr_db(expected, actual)
        worst = min(worst, float(columns.min())) if columns.size else worst
    return worst


def samples_needed(drop: float, disagreement: float) -> int:
    """How many paired samples show a drop of this size, two-sided 5 %, power 80 % (Connett, Smith and McHugh 1987).

    Args:
        drop: difference of two accuracies, 0-1.
        disagreement: share of the samples in which just one of the two is right, 0-1.

    Returns:
        Number of samples, rounded up.

    >>> samples_needed(0.01, 0.03)
    2350
    """
    drop = max(abs(drop), 1e-4)
    disagreement = max(disagreement, drop)
    root = 1.96 * math.sqrt(disagreement) + 0.84 * math.sqrt(max(disagreement - drop * drop, 0))
    return math.ceil((root / drop) ** 2)
