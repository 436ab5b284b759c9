"""Drawing samples so that every class keeps its share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw(
    labels: NDArray[np.int64], count: int, generator: np.random.Generator, *, leave_one: bool = False
) -> NDArray[np.int64]:
    """Indices of `count` samples, ascending, each class in proportion (largest remainder; ties by the generator).

    With `leave_one`, no class is drawn empty, so that the rest still has every class.

    >>> labels = np.array([0] * 6 + [1] * 2)
    >>> labels[draw(labels, 4, np.random.default_rng(0))].tolist()
    [0, 0, 0, 1]
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"count={count}: expected 0 to {len(labels)}, the number of samples")
    classes, counts = np.unique(labels, return_counts=True)
    limits = counts - 1 if leave_one else counts
    seats = _seats(counts, limits, min(count, int(limits.sum())), generator)
    chosen = [
        generator.choice(np.flatnonzero(labels == label), size, replace=False)
        for label, size in zip(classes, seats, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64) if chosen else np.empty(0, np.int64)


def _seats(counts: NDArray, limits: NDArray, total: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """How many of each class: the whole part of its share, then one more by the largest remainder."""
    share = total * counts / max(int(counts.sum()), 1)
    seats = np.minimum(np.floor(share).astype(np.int64), limits)
    while seats.sum() < total:
        remainder = np.where(seats < limits, share - seats, -np.inf)
        best = np.flatnonzero(np.isclose(remainder, remainder.max()))
        seats[generator.choice(best)] += 1
    return seats
