"""How far a tensor goes beyond what a few calibration rows have shown of it.

The smallest and the largest of 64 rows are exceeded by later rows: by much, where a row holds few values (a dense
layer's eight units), and what is cut off there weighs more than all rounding. Where a row holds thousands, the rows
have shown nearly all that will come.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CODES = 255
FEWEST_ROWS = 4  # less says nothing of a tail
SHARE_OF_TAIL = 8  # the highest of so many rows, two at least, are the tail
ROUNDS = 3  # of a fixed point that hardly moves
FASTER = 0.7  # of that margin: most tails fall faster; best over six distributions, experiments/2026-11-28-few-values


def tail_margin(tops: NDArray, count: int, span: float) -> float:
    """What to add to one end of a range, so that rounding and cutting off together cost least on rows not seen yet.

    Far out, a distribution falls exponentially, or nearly so; the mean excess of the highest rows over the next one is
    the length t of that fall (Weissman 1978). With `count` values seen, a new one is beyond the highest in one of
    `count` cases and t beyond it on average, so that an end moved by m cuts off 2 t^2 / count exp(-m / t) in the mean
    square, and rounding costs ((span + m) / 255)^2 / 12. The m with the smallest sum solves
    m = t log(12 * 255^2 t / (count (span + m))), and FASTER of it is taken.

    Args:
        tops: the largest value of each row, [rows]; of the lower end, of the values with the other sign.
        count: how many values the rows hold together.
        span: of the range without margins.

    >>> rows = np.random.default_rng(0).normal(size=(64, 8))
    >>> round(tail_margin(rows.max(1), rows.size, np.ptp(rows)), 2)
    1.22
    >>> tail_margin(rows.max(1), 1000 * rows.size, np.ptp(rows)), tail_margin(np.ones(64), 512, 1.0)
    (0.0, 0.0)
    """
    ordered = np.sort(np.maximum(tops, 0.0))
    if len(ordered) < FEWEST_ROWS or span <= 0:
        return 0.0
    share = max(2, len(ordered) // SHARE_OF_TAIL)
    length, margin = float(np.mean(ordered[-share:]) - ordered[-share - 1]), 0.0
    if length <= 0:
        return 0.0
    for _ in range(ROUNDS):
        margin = length * max(math.log(12 * CODES**2 * length / (count * (span + margin))), 0.0)
    return FASTER * margin
