"""Pareto front of points with a cost and a value."""

from __future__ import annotations

from collections.abc import Sequence


def find_pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, value) points that no other beats in one and at least equals in the other.

    A low cost and a high value are good. Sorted by cost; of equal points each is on the front.

    >>> find_pareto_front([(1.0, 0.5), (2.0, 0.9), (3.0, 0.8), (2.0, 0.7)])
    [0, 1]
    """
    indices: list[int] = []
    best = None
    for index in sorted(range(len(points)), key=lambda each: (points[each][0], -points[each][1])):
        cost, value = points[index]
        if best is None or value > best[1] or (cost, value) == best:
            best = (cost, value)
            indices.append(index)
    return indices
