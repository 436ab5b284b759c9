"""E, O03: is the measurement itself wrong? Labels of other samples, too few samples, a baseline fed wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from qat.diagnosis.catalogue import MEASURED_FIRST, ONE_PASS
from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.hypotheses.origin import measure_cosines
from qat.diagnosis.normalisations import list_normalisations, normalise, python_code, reshape_like
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


def find_wrong_labels(evidence: Evidence) -> Iterator[Hypothesis]:
    """E01 (no order helps), O03 (another numbering of the classes), E03 (the reference itself is fed wrongly)."""
    labels, reference = evidence.case.labels, evidence.keras_outputs or evidence.file_outputs
    if labels is None or reference is None or len(labels) < FEWEST:
        return
    if reference[0].ndim != 2 or reference[0].shape[1] < 3:
        return
    scores = reference[0]
    predicted, classes = predicted_labels(scores), scores.shape[1]
    right = int((predicted == labels).sum())
    chance = _chance(predicted, labels)
    low, _ = wilson_interval(right, len(labels))
    if low <= chance + WEAK and np.mean(predicted_labels(evidence.file_outputs[0]) == labels) > GOOD + chance:
        return  # the file is right by these labels: it is the reference that is wrong
    accuracy = right / len(labels)
    if low <= chance + WEAK and (other := _other_normalisation(evidence, accuracy)) is not None:
        yield _describe_other_inputs(accuracy, other)
    elif low <= chance + BY_CHANCE:
        order = _best_order(predicted, labels, max(classes, int(labels.max()) + 1))
        found = float(np.mean(order[predicted] == labels))
        if found > max(MUCH_OF_CHANCE * chance, CONFIDENT):
            yield _describe_other_numbers(accuracy, found, order, classes)
        elif (confidence := _measure_varied_confidence(scores, predicted)) > min(CONFIDENT, MUCH_OF_CHANCE / classes):
            yield Hypothesis(
                "E01",
                f"accuracy is {accuracy:.1%}, that of chance ({chance:.1%}), while the model is confident "
                f"(mean largest score {confidence:.2f}) and its classes are varied: the labels belong to other samples",
                ONE_PASS,
                0.85,
                certain=evidence.keras is not None,
            )


def _describe_other_inputs(accuracy: float, other: tuple[str, float]) -> Hypothesis:
    """The reference is fed wrongly: another normalisation, and the accuracy under it."""
    return Hypothesis(
        "E03",
        f"the reference itself scores {accuracy:.1%}; with {other[0]!r} as preprocessing it scores {other[1]:.1%}",
        f"measure the baseline with inputs prepared so: {python_code(other[0])}",
        0.8,
        certain=True,
        repair=lambda case: replace(case, preprocess=lambda raw: normalise(raw, other[0])),
    )


def _describe_other_numbers(accuracy: float, found: float, order: NDArray, classes: int) -> Hypothesis:
    shift = (order[:classes] - np.arange(classes)) % max(classes, 1)
    rolled = len(set(shift.tolist())) == 1
    words = f"shifted by {int(shift[0])}" if rolled else f"in the order {order[:12].tolist()}"
    return Hypothesis(
        "O03",
        f"accuracy is {accuracy:.1%}, but {found:.1%} with the classes {words}",
        "number the labels as in training",
        0.9,
        certain=True,
        recovered=1.0,
    )


def _measure_varied_confidence(scores: NDArray, predicted: NDArray) -> float:
    """The mean share of the largest score; 0 where most samples are given one class."""
    rows = scores - scores.min(axis=1, keepdims=True) if (scores < 0).any() else scores
    confidence = float(np.mean(rows.max(axis=1) / np.maximum(rows.sum(axis=1), 1e-12)))
    varied = np.bincount(predicted, minlength=scores.shape[1]).max() / len(predicted) < VARIED
    return confidence if varied else 0.0


def _chance(predicted: NDArray, labels: NDArray) -> float:
    size = int(max(predicted.max(), labels.max())) + 1
    first = np.bincount(np.maximum(predicted, 0), minlength=size) / len(labels)
    second = np.bincount(np.maximum(labels, 0), minlength=size) / len(labels)
    return float(first @ second)


def _best_order(predicted: NDArray, labels: NDArray, size: int) -> NDArray:
    """The numbering of the predicted classes that meets the labels most often."""
    table = np.zeros((size, size))
    np.add.at(table, (np.maximum(predicted, 0), np.clip(labels, 0, size - 1)), 1)
    return linear_sum_assignment(table, maximize=True)[1]


def _other_normalisation(evidence: Evidence, value: float) -> tuple[str, float] | None:
    """The usual normalisation under which the Keras model is much better than under the one given."""
    raw, labels = evidence.case.inputs, evidence.case.labels
    if evidence.keras is None or len(evidence.right_inputs) != 1:
        return None
    raw = reshape_like(raw, evidence.right_inputs[0])
    if raw is None:
        return None
    few, accuracies = slice(0, 256), {"": 0.0}
    for name in list_normalisations(raw):
        scores = run_keras(evidence.keras, [normalise(raw[few], name)])
        accuracies[name] = float(np.mean(predicted_labels(scores[0]) == labels[few]))
    best = max(accuracies.items(), key=lambda each: each[1])
    return best if best[1] > max(value + MUCH_BETTER, TWICE * value, GOOD) else None


def find_wrong_baseline(evidence: Evidence) -> Iterator[Hypothesis]:
    """E03: the integer file beats the Keras model by more than luck: the reference is fed wrongly."""
    if evidence.keras_outputs is None or evidence.case.labels is None:
        return
    drop = evidence.score.drop(evidence.file_outputs, evidence.keras_outputs)
    if not drop.significant or drop.points <= BETTER:
        return
    if any(cosine < OTHER_KERNELS for _, cosine in measure_cosines(evidence.facts, evidence.keras)):
        yield Hypothesis(
            "E03",
            f"the Keras model scores {drop.value:.1%}, the file {drop.reference:.1%}, and their kernels differ: "
            "what is given as keras_model is not what the file was made from",
            f"give the trained model, and measure it first: {MEASURED_FIRST}",
            0.8,
            certain=True,
        )


def describe_sample_size(evidence: Evidence, better: Outputs, worse: Outputs, what: str) -> str | None:
    """E02 in words: a difference that so many samples cannot tell from luck.

    Args:
        evidence: what is known of the case, its score among it.
        better: outputs of the better one, Keras order, each float [N, ...].
        worse: outputs of the worse one for the same N samples.
        what: name of the two, as "Keras model against file".

    Returns:
        A note with the number of samples that would show the difference; None where it shows, or there is none.
    """
    if evidence.score.unit == "dB":
        return None
    drop = evidence.score.drop(better, worse)
    if drop.significant or drop.points < 1e-9:
        return None
    disagreement = float(np.mean(evidence.score.is_right(better) != evidence.score.is_right(worse)))
    needed = samples_needed(drop.points, disagreement)
    return (
        f"E02: {what}: {drop.reference:.1%} against {drop.value:.1%} on {evidence.case.count} samples is no proof of a "
        f"loss (p = {drop.p:.2g}); a difference of that size needs about {needed} samples to show"
    )
