"""Which configurations no other beats in both of two things at once."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, worth) points that no other point beats or equals in one and beats in the other.

    Sorted by cost. Of equal points each is on the front.

    >>> front([(1.0, 0.5), (2.0, 0.9), (3.0, 0.8), (2.0, 0.7)])
    [0, 1]
    """
    found: list[int] = []
    best = None
    for place in sorted(range(len(points)), key=lambda each: (points[each][0], -points[each][1])):
        cost, worth = points[place]
        if best is None or worth > best[1] or (cost, worth) == best:
            best = (cost, worth)
            found.append(place)
    return found
