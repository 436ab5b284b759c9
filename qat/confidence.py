"""Means over a few seeds and paired differences, with what few samples allow one to say. NumPy, and SciPy on demand.

Intervals and tests are Student's, with the n - 1 degrees of freedom that n values leave: 1.96 standard errors would be
half as wide as they should be for three seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_FLIPPED = 16  # pairs; 2^16 sums are counted one by one, more pairs are left to the t test


@dataclass(frozen=True)
class Mean:
    """`half_width` of the interval around `mean`; None for a single value, which gives no interval."""

    mean: float
    half_width: float | None
    n: int


@dataclass(frozen=True)
class Paired:
    """The mean of paired differences, and how likely luck alone would give one so far from 0."""

    difference: Mean
    p_t: float | None  # Student's paired t test, two-sided; None where the differences do not vary
    p_signs: float | None  # exact sign-flip test, two-sided; None for more than 16 pairs

    @property
    def p(self) -> float | None:
        """The t test's, or the exact test's where there is no t; None for a single pair."""
        if self.difference.n < 2:
            return None
        return self.p_t if self.p_t is not None else self.p_signs


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Mean:
    """Mean of independent values and Student's interval around it.

    >>> mean_interval([1.0, 2.0, 3.0]).mean, round(mean_interval([1.0, 2.0, 3.0]).half_width, 3)
    (2.0, 2.484)

    Raises:
        ValueError: no values, or one that is NaN or infinite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"no mean of {list(values)}: expected one finite number at least")
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Mean(mean, None, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Mean(mean, student_quantile(confidence, n - 1) * deviation / math.sqrt(n), n)


def paired(differences: Sequence[float], confidence: float = 0.95) -> Paired:
    """Whether paired differences lie around 0.

    >>> found = paired([0.2, 0.1, 0.4, 0.3])
    >>> round(found.p_t, 4), found.p_signs
    (0.0305, 0.125)
    """
    mean = mean_interval(differences, confidence)
    varies = mean.n > 1 and max(differences) - min(differences) > 1e-12
    p_t = None
    if varies:
        deviation = float(np.std(differences, ddof=1))
        p_t = student_p(mean.mean / (deviation / math.sqrt(mean.n)), mean.n - 1)
    return Paired(mean, p_t, sign_flip_p(differences) if mean.n <= MOST_FLIPPED else None)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided exact test: the share of all 2^n choices of signs whose sum is at least as far from 0 (Fisher 1935).

    >>> sign_flip_p([1.0, 2.0, 3.0]), sign_flip_p([0.0, 0.0])
    (0.25, 1.0)
    """
    sums: NDArray[np.float64] = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    observed = abs(math.fsum(differences))
    return float(np.mean(np.abs(sums) >= observed - 1e-12 * max(1.0, observed)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values as they stand when all of these tests are asked at once (Holm 1979); None stays None.

    >>> holm([0.01, None, 0.04])
    [0.02, None, 0.04]
    """
    asked = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    so_far = 0.0
    for rank, (p, place) in enumerate(asked):
        so_far = max(so_far, min(1.0, p * (len(asked) - rank)))
        adjusted[place] = so_far
    return adjusted


def student_p(t: float, degrees: int) -> float:
    """Two-sided tail of Student's distribution, by SciPy.

    >>> round(student_p(2.228, 10), 3)
    0.05
    """
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(t)))


def student_quantile(confidence: float, degrees: int) -> float:
    """The t between whose minus and plus lies the share `confidence` of Student's distribution, by SciPy.

    >>> [round(student_quantile(0.95, degrees), 3) for degrees in (1, 2, 9)]
    [12.706, 4.303, 2.262]

    Raises:
        ValueError: a confidence that is not between 0 and 1, or no degree of freedom.
    """
    from scipy.special import stdtrit

    if not 0 < confidence < 1 or degrees < 1:
        raise ValueError(f"confidence {confidence} with {degrees} degrees of freedom: expected 0-1 and 1 at least")
    return float(stdtrit(degrees, (1 + confidence) / 2))
