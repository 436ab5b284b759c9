"""How far a tensor exceeds the limits that a few calibration rows have shown.

Later rows exceed the smallest and the largest value of 64 rows. They do so by much where a row has few values (the
eight units of a dense layer), and there clipping costs more than rounding. Where a row has thousands, 64 rows show
nearly all.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CODES = 255
FEWEST_ROWS = 4  # fewer do not show a tail
SHARE_OF_TAIL = 8  # one of so many rows, at least two, are the tail
ROUNDS = 3  # iterations to the fixed point, which converges at once
FASTER = 0.7  # of that margin: most tails fall faster; best over six distributions, experiments/2026-11-28-few-values


def tail_margin(maxima: NDArray, count: int, width: float) -> float:
    """What to add to one end of a range, so that rounding and clipping together cost least on rows not seen yet.

    Far out, a distribution falls exponentially, or nearly so; the mean excess of the highest rows over the next one is
    the length t of that fall (Weissman 1978). With `count` values seen, a new one is beyond the highest in one of
    `count` cases and t beyond it on average, so that an end moved by m clips 2 t^2 / count exp(-m / t) in the mean
    square, and rounding costs ((width + m) / 255)^2 / 12. The m with the smallest sum solves
    m = t log(12 * 255^2 t / (count (width + m))), and FASTER of it is taken.

    Args:
        maxima: the largest value of each row, float [rows]; for the lower end, of the negated values.
        count: number of values in all rows.
        width: max - min of the range without margins, in the unit of the values.

    Returns:
        The margin, 0 or more, in the unit of the values.

    >>> rows = np.random.default_rng(0).normal(size=(64, 8))
    >>> round(tail_margin(rows.max(1), rows.size, np.ptp(rows)), 2)
    1.22
    >>> tail_margin(rows.max(1), 1000 * rows.size, np.ptp(rows)), tail_margin(np.ones(64), 512, 1.0)
    (0.0, 0.0)
    """
    ordered = np.sort(np.maximum(maxima, 0.0))
    if len(ordered) < FEWEST_ROWS or width <= 0:
        return 0.0
    share = max(2, len(ordered) // SHARE_OF_TAIL)
    length, margin = float(np.mean(ordered[-share:]) - ordered[-share - 1]), 0.0
    if length <= 0:
        return 0.0
    for _ in range(ROUNDS):
        margin = length * max(math.log(12 * CODES**2 * length / (count * (width + margin))), 0.0)
    return FASTER * margin
