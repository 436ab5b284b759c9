"""Metrics that compare arrays: SQNR, error, accuracy, agreement, AUC, intervals. NumPy only.

Nothing here repairs its input: NaN is a ValueError.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qat.plain_text import count_of


def _finite(name: str, array: NDArray) -> NDArray:
    array = np.asarray(array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are NaN or infinite")
    return array


def _same_shape(a: NDArray, b: NDArray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} against {b.shape}")


def sqnr_db(reference: NDArray, noisy: NDArray) -> float:
    """Signal to quantization noise ratio, in dB: 10 log10(sum(reference^2) / sum((reference - noisy)^2)).

    Args:
        reference: float or integer, any shape.
        noisy: the same numbers with noise, of the same shape and unit.

    Returns:
        The ratio in dB; infinite where the two are equal, minus infinite where only the reference is all zero.

    Raises:
        ValueError: shapes differ, or a value is NaN or infinite.

    >>> round(sqnr_db(np.array([1.0, 1.0]), np.array([0.9, 1.1])), 3)
    20.0
    """
    reference, noisy = _finite("reference", reference), _finite("noisy", noisy)
    _same_shape(reference, noisy)
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(reference.astype(np.float64) - noisy)))
    if noise == 0:
        return math.inf
    return -math.inf if signal == 0 else 10 * math.log10(signal / noise)


def predicted_class(scores: NDArray) -> NDArray[np.int64]:
    """Class of each row of scores [N, classes]; one column is the probability of class 1, above 0.5 class 1.

    >>> predicted_class(np.array([[0.1, 0.9], [0.7, 0.3]])).tolist(), predicted_class(np.array([[0.7]])).tolist()
    ([1, 0], [1])
    """
    scores = _finite("scores", scores).reshape(len(scores), -1)
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0.5).astype(np.int64)
    return np.argmax(scores, axis=1)


def accuracy(scores: NDArray, labels: NDArray) -> float:
    """Share of rows whose predicted class is the label.

    Args:
        scores: [N, classes], or [N, 1], as `predicted_class` takes them.
        labels: class indices, [N] or [N, 1].

    Returns:
        0-1.

    Raises:
        ValueError: no rows, not one label per row, or a score that is NaN or infinite.

    >>> accuracy(np.array([[0.1, 0.9], [0.7, 0.3]]), np.array([1, 1]))
    0.5
    """
    labels = np.asarray(labels).reshape(-1)
    if len(labels) == 0 or len(labels) != len(scores):
        raise ValueError(f"accuracy of {len(scores)} predictions against {len(labels)} labels: the counts must agree")
    return float(np.mean(predicted_class(scores) == labels))


def agreement(scores: NDArray, other: NDArray) -> float:
    """Share of rows in which two models predict the same class.

    Args:
        scores: scores of one model, [N, classes] or [N, 1].
        other: scores of the other model for the same N samples, of the same shape.

    Returns:
        0-1.

    Raises:
        ValueError: no rows, different numbers of rows, or a score that is NaN or infinite.

    >>> agreement(np.array([[0.1, 0.9]]), np.array([[0.4, 0.6]]))
    1.0
    """
    if len(scores) == 0 or len(scores) != len(other):
        raise ValueError(f"agreement of {len(scores)} rows with {len(other)}: the counts must agree and not be 0")
    return float(np.mean(predicted_class(scores) == predicted_class(other)))


def auc(scores: NDArray, labels: NDArray) -> float:
    """Area under the ROC curve, by the rank sum of Mann and Whitney 1947; ties count half.

    Args:
        scores: one per row, [N] or [N, 1]; higher means class 1.
        labels: 0 or 1, [N] or [N, 1].

    Returns:
        0-1.

    Raises:
        ValueError: only one class, or a score that is NaN or infinite.

    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    0.75
    """
    scores, labels = _finite("scores", scores).reshape(-1), np.asarray(labels).reshape(-1)
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    if positives == 0 or negatives == 0:
        raise ValueError(f"AUC needs both classes; there are {positives} of class 1 and {negatives} of class 0")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_rank[inverse][labels == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def wilson_interval(successes: int, samples: int, z: float = 1.959964) -> tuple[float, float]:
    """Confidence interval of a share (Wilson 1927).

    Args:
        successes: 0 to `samples`.
        samples: at least 1.
        z: quantile of the normal distribution; the default gives 95 %.

    Returns:
        Lower and upper limit, 0-1.

    Raises:
        ValueError: numbers that make no share.

    >>> [round(v, 3) for v in wilson_interval(90, 100)]
    [0.826, 0.945]
    """
    if samples <= 0 or not 0 <= successes <= samples:
        raise ValueError(f"{successes} successes of {samples} samples is no share")
    share = successes / samples
    centre = share + z * z / (2 * samples)
    half = z * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    scale = 1 + z * z / samples
    return (centre - half) / scale, (centre + half) / scale


def as_scores(outputs: NDArray) -> NDArray:
    """Outputs as scores [N, classes]; a single column of logits becomes probabilities, which `predicted_class` takes.

    >>> as_scores(np.array([[-3.0], [0.0], [3.0]])).round(2).ravel().tolist()
    [0.05, 0.5, 0.95]
    """
    scores = np.reshape(outputs, (len(outputs), -1))
    if scores.shape[1] == 1 and (scores.min() < 0 or scores.max() > 1):
        return 1 / (1 + np.exp(-scores))
    return scores


@dataclass(frozen=True)
class Score:
    """A classifier's accuracy, 0-1, and its 95 % interval (Wilson)."""

    accuracy: float
    interval: tuple[float, float]
    samples: int

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.interval)
        return f"accuracy {100 * self.accuracy:.2f} % (95 %: {low:.2f}-{high:.2f}; {count_of(self.samples, 'sample')})"

    def __float__(self) -> float:
        return self.accuracy


def score(scores: NDArray, labels: NDArray) -> Score:
    """Accuracy of a classifier with its interval.

    Args:
        scores: float [N, classes] or [N, 1], as `predicted_class` takes them.
        labels: class indices, integers [N].

    Returns:
        Accuracy, 0-1, its 95 % interval (Wilson), 0-1, and N.

    Raises:
        ValueError: no rows, or a score that is NaN or infinite.

    >>> print(score(np.array([[0.1, 0.9], [0.7, 0.3]]), np.array([1, 1])))
    accuracy 50.00 % (95 %: 9.45-90.55; 2 samples)
    """
    right = predicted_class(scores) == labels
    return Score(float(np.mean(right)), wilson_interval(int(right.sum()), len(right)), len(right))


def mcnemar_p(first_right: NDArray, second_right: NDArray) -> float:
    """Two-sided exact McNemar test (McNemar 1947) on paired right/wrong predictions.

    Args:
        first_right: whether the first model is right, bool [N].
        second_right: whether the second model is right, for the same N samples.

    Returns:
        p, 0-1: the probability of a difference at least as large if both models were equally good; 1 without any
        difference.

    Raises:
        ValueError: shapes differ.

    >>> round(mcnemar_p(np.array([1, 1, 1, 1, 1, 1]), np.array([0, 0, 0, 0, 0, 0])), 4)
    0.0313
    """
    first, second = np.asarray(first_right, bool), np.asarray(second_right, bool)
    _same_shape(first, second)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    trials, few = only_first + only_second, min(only_first, only_second)
    if trials == 0:
        return 1.0
    log_half = trials * math.log(0.5)
    tail = sum(
        math.exp(math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + log_half)
        for k in range(few + 1)
    )
    return min(1.0, 2 * tail)
