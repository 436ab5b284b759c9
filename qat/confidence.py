"""Means over a few seeds and paired differences, with intervals and tests for small samples. NumPy, SciPy on demand.

Intervals and tests are Student's with n - 1 degrees of freedom: for three seeds, 1.96 standard errors would be half as
wide as they should be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_FLIPPED = 16  # pairs: 2^16 sums are enumerated; with more pairs only the t test is computed


@dataclass(frozen=True)
class Mean:
    """`half_width` of the interval around `mean`; None for a single value, which gives no interval."""

    mean: float
    half_width: float | None
    n: int


@dataclass(frozen=True)
class PairedTest:
    """The mean of paired differences, and p values of the hypothesis that it is 0."""

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

    Args:
        values: at least one, finite.
        confidence: share of cases in which the interval holds the mean, between 0 and 1.

    Returns:
        In the unit of the values; no interval for a single value.

    >>> mean_interval([1.0, 2.0, 3.0]).mean, round(mean_interval([1.0, 2.0, 3.0]).half_width, 3)
    (2.0, 2.484)

    Raises:
        ValueError: no values, or one that is NaN or infinite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"no mean of {list(values)}: expected at least one number, all of them finite")
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Mean(mean, None, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Mean(mean, student_quantile(confidence, n - 1) * deviation / math.sqrt(n), n)


def paired_test(differences: Sequence[float], confidence: float = 0.95) -> PairedTest:
    """Test whether the mean of paired differences is 0: Student's t test, and the sign-flip test of up to 16 pairs.

    Args:
        differences: one per pair, at least one, finite.
        confidence: share of cases in which the interval around the mean holds it, between 0 and 1.

    Returns:
        Mean with interval, in the unit of the differences, and both p values.

    Raises:
        ValueError: no differences, or one that is NaN or infinite.

    >>> result = paired_test([0.2, 0.1, 0.4, 0.3])
    >>> round(result.p_t, 4), result.p_signs
    (0.0305, 0.125)
    """
    mean = mean_interval(differences, confidence)
    varies = mean.n > 1 and max(differences) - min(differences) > 1e-12
    p_t = None
    if varies:
        deviation = float(np.std(differences, ddof=1))
        p_t = student_p(mean.mean / (deviation / math.sqrt(mean.n)), mean.n - 1)
    return PairedTest(mean, p_t, sign_flip_p(differences) if mean.n <= MOST_FLIPPED else None)


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
    """Adjust p values for multiple tests (Holm 1979); None stays None.

    >>> holm([0.01, None, 0.04])
    [0.02, None, 0.04]
    """
    ascending = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(ascending):
        largest = max(largest, min(1.0, p * (len(ascending) - rank)))
        adjusted[index] = largest
    return adjusted


def student_p(t: float, degrees: int) -> float:
    """Two-sided tail of Student's distribution, by SciPy.

    Args:
        t: a real number of either sign, the mean in units of its standard error.
        degrees: number of degrees of freedom, at least 1.

    Returns:
        Probability of a value at least as far from 0, 0-1.

    >>> round(student_p(2.228, 10), 3)
    0.05
    """
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(t)))


def student_quantile(confidence: float, degrees: int) -> float:
    """The t for which [-t, t] holds the share `confidence` of Student's distribution, by SciPy.

    Args:
        confidence: a share between 0 and 1.
        degrees: number of degrees of freedom, at least 1.

    Returns:
        t, above 0.

    >>> [round(student_quantile(0.95, degrees), 3) for degrees in (1, 2, 9)]
    [12.706, 4.303, 2.262]

    Raises:
        ValueError: a confidence that is not between 0 and 1, or no degree of freedom.
    """
    from scipy.special import stdtrit

    if not 0 < confidence < 1 or degrees < 1:
        raise ValueError(f"confidence {confidence} with {degrees} degrees of freedom: expected 0-1 and 1 at least")
    return float(stdtrit(degrees, (1 + confidence) / 2))
