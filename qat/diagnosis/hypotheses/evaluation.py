"""E, O03: is the measurement itself wrong? Labels of other samples, too few samples, a baseline fed wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.fixes import MEASURED_FIRST, ONE_PASS
from qat.diagnosis.hypotheses.weights import layer_cosines
from qat.diagnosis.normalisations import applicable, in_python, normalised, shaped_like
from qat.diagnosis.runs import run_keras
from qat.diagnosis.score import Outputs, predicted_labels, samples_needed
from qat.metrics import wilson_interval

CONFIDENT, MUCH_OF_CHANCE = 0.5, 2.5  # mean largest score; times chance that a score or an order must reach
OTHER_KERNELS = 0.6
WEAK, MUCH_BETTER = 0.15, 0.15  # accuracy above chance below which another preprocessing is tried; its gain
GOOD, TWICE = 0.3, 2.0  # accuracy, and times the one given, that it must reach
BY_CHANCE = 0.02  # accuracy above chance that is none
FEWEST = 40  # samples
VARIED = 0.6  # share of the samples that one class may have at most
BETTER = 0.1  # accuracy by which a file beats its own model only if that is fed wrongly


def labels_do_not_fit(evidence: Evidence) -> Iterator[Hypothesis]:
    """E01 (no order helps), O03 (another numbering of the classes), E03 (the reference itself is fed wrongly)."""
    labels, reference = evidence.case.labels, evidence.a0 or evidence.a2
    if (
        labels is None
        or reference is None
        or reference[0].ndim != 2
        or reference[0].shape[1] < 3
        or len(labels) < FEWEST
    ):
        return
    scores = reference[0]
    predicted, classes = predicted_labels(scores), scores.shape[1]
    right = int((predicted == labels).sum())
    chance = _chance(predicted, labels)
    low, _ = wilson_interval(right, len(labels))
    if low <= chance + WEAK and (other := _other_normalisation(evidence, right / len(labels))) is not None:
        yield Hypothesis(
            "E03",
            f"the reference itself scores {right / len(labels):.1%}; with {other[0]!r} as "
            f"preprocessing it scores {other[1]:.1%}",
            f"measure the baseline with inputs prepared so: {in_python(other[0])}",
            0.8,
            certain=True,
            repair=lambda case: replace(case, preprocess=lambda raw: normalised(raw, other[0])),
        )
        return
    if low > chance + BY_CHANCE:
        return
    order = _best_order(predicted, labels, max(classes, int(labels.max()) + 1))
    found = float(np.mean(order[predicted] == labels))
    if found > max(MUCH_OF_CHANCE * chance, CONFIDENT):
        shift = (order[:classes] - np.arange(classes)) % max(classes, 1)
        words = (
            f"shifted by {int(shift[0])}" if len(set(shift.tolist())) == 1 else f"in the order {order[:12].tolist()}"
        )
        yield Hypothesis(
            "O03",
            f"accuracy is {right / len(labels):.1%}, but {found:.1%} with the classes {words}",
            "number the labels as in training",
            0.9,
            certain=True,
            recovered=1.0,
        )
        return
    rows = scores - scores.min(axis=1, keepdims=True) if (scores < 0).any() else scores
    confidence = float(np.mean(rows.max(axis=1) / np.maximum(rows.sum(axis=1), 1e-12)))
    varied = np.bincount(predicted, minlength=classes).max() / len(predicted) < VARIED
    if varied and confidence > min(CONFIDENT, MUCH_OF_CHANCE / classes):
        yield Hypothesis(
            "E01",
            f"accuracy is {right / len(labels):.1%}, that of chance ({chance:.1%}), while the model is confident "
            f"(mean largest score {confidence:.2f}) and its classes are varied: the labels belong to other samples",
            ONE_PASS,
            0.85,
            certain=evidence.keras is not None,
        )


def _chance(predicted: NDArray, labels: NDArray) -> float:
    size = int(max(predicted.max(), labels.max())) + 1
    first = np.bincount(np.maximum(predicted, 0), minlength=size) / len(labels)
    second = np.bincount(np.maximum(labels, 0), minlength=size) / len(labels)
    return float(first @ second)


def _best_order(predicted: NDArray, labels: NDArray, size: int) -> NDArray:
    """The numbering of the predicted classes that meets the labels most often."""
    table = np.zeros((size, size))
    np.add.at(table, (np.maximum(predicted, 0), np.clip(labels, 0, size - 1)), 1)
    order, taken = np.full(size, -1), np.zeros(size, bool)
    for place in np.argsort(-table, axis=None, kind="stable"):
        row, column = divmod(int(place), size)
        if table[row, column] == 0:
            break
        if order[row] < 0 and not taken[column]:
            order[row], taken[column] = column, True
    order[order < 0] = np.flatnonzero(~taken)
    return order


def _other_normalisation(evidence: Evidence, value: float) -> tuple[str, float] | None:
    """The usual normalisation under which the Keras model is much better than under the one given."""
    raw, labels = evidence.case.inputs, evidence.case.labels
    if evidence.keras is None or len(evidence.right_inputs) != 1:
        return None
    raw = shaped_like(raw, evidence.right_inputs[0])
    if raw is None:
        return None
    few, best = slice(0, 256), ("", 0.0)
    for name in applicable(raw):
        scores = run_keras(evidence.keras, [normalised(raw[few], name)])
        found = float(np.mean(predicted_labels(scores[0]) == labels[few]))
        best = (name, found) if found > best[1] else best
    return best if best[1] > max(value + MUCH_BETTER, TWICE * value, GOOD) else None


def baseline_is_wrong(evidence: Evidence) -> Iterator[Hypothesis]:
    """E03: the integer file beats the Keras model by more than luck: the reference is fed wrongly."""
    if evidence.a0 is None or evidence.case.labels is None:
        return
    drop = evidence.score.drop(evidence.a2, evidence.a0)
    cosines = layer_cosines(evidence.facts, evidence.keras)
    if drop.significant and drop.points > BETTER and any(each.cosine < OTHER_KERNELS for each in cosines):
        yield Hypothesis(
            "E03",
            f"the Keras model scores {drop.value:.1%}, the file {drop.reference:.1%}, and their kernels differ: "
            "what is given as keras_model is not what the file was made from",
            f"give the trained model, and measure it first: {MEASURED_FIRST}",
            0.8,
            certain=True,
        )
    elif (
        drop.significant and drop.points > BETTER and (other := _other_normalisation(evidence, drop.value)) is not None
    ):
        yield Hypothesis(
            "E03",
            f"the Keras model scores {drop.value:.1%} and the file {drop.reference:.1%}; with "
            f"{other[0]!r} the Keras model scores {other[1]:.1%}",
            f"measure the baseline with inputs prepared so: {in_python(other[0])}",
            0.7,
        )


def too_few_samples(evidence: Evidence, better: Outputs, worse: Outputs, what: str) -> str | None:
    """E02 in words: a difference that so many samples cannot tell from luck."""
    if evidence.score.unit == "dB":
        return None
    drop = evidence.score.drop(better, worse)
    if drop.significant or drop.points < 1e-9:
        return None
    disagreement = float(np.mean(evidence.score.right(better) != evidence.score.right(worse)))
    needed = samples_needed(drop.points, disagreement)
    return (
        f"E02: {what}: {drop.reference:.1%} against {drop.value:.1%} on {evidence.case.count} "
        "samples is no proof of a loss "
        f"(p = {drop.p:.2g}); a difference of that size needs about {needed} samples to show"
    )
