"""Draw samples so that every class keeps its share (stratified sampling)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw(
    labels: NDArray[np.int64], count: int, generator: np.random.Generator, *, leave_one: bool = False
) -> NDArray[np.int64]:
    """Draw samples, each class in proportion to its size (method of the largest remainder; ties by the generator).

    >>> labels = np.array([0] * 6 + [1] * 2)
    >>> labels[draw(labels, 4, np.random.default_rng(0))].tolist()
    [0, 0, 0, 1]

    Args:
        labels: class indices of all samples, int64 `[N]`.
        count: how many to draw, 0 to N.
        generator: NumPy's generator; it draws within each class.
        leave_one: leave at least one sample of each class, so that the rest still has every class.

    Returns:
        Indices into `labels`, int64 `[count]`, ascending; fewer with `leave_one` where the classes are too small.

    Raises:
        ValueError: `count` is out of range.
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"count={count}: expected 0 to {len(labels)}, the number of samples")
    classes, counts = np.unique(labels, return_counts=True)
    limits = counts - 1 if leave_one else counts
    sizes = _allocate(counts, limits, min(count, int(limits.sum())), generator)
    indices = [
        generator.choice(np.flatnonzero(labels == label), size, replace=False)
        for label, size in zip(classes, sizes, strict=True)
    ]
    return np.sort(np.concatenate(indices)).astype(np.int64) if indices else np.empty(0, np.int64)


def _allocate(counts: NDArray, limits: NDArray, total: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """How many samples of each class: the integer part of its share, then one more by the largest remainder."""
    share = total * counts / max(int(counts.sum()), 1)
    sizes = np.minimum(np.floor(share).astype(np.int64), limits)
    while sizes.sum() < total:
        remainder = np.where(sizes < limits, share - sizes, -np.inf)
        best = np.flatnonzero(np.isclose(remainder, remainder.max()))
        sizes[generator.choice(best)] += 1
    return sizes
