"""Rows that are put into places which constants say: the same rows, gathered in the order of the places."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qat.quantization.ir.graph import Tensor, is_fixed
from qat.quantization.rewrites.builder import Match, constant_of
from qat.quantization.rewrites.driver import rewrite


@rewrite("tf:ScatterNd")
def scatter(match: Match) -> Tensor | None:
    """Rows in their places, and zeros elsewhere."""
    return _scatter(match, *match.inputs[:2])


@rewrite("tf:TensorScatterAdd", "tf:TensorScatterSub")
def scatter_sum(match: Match) -> Tensor | None:
    """Rows that are added to what stands in their places, or subtracted from it."""
    base, indices, updates = match.inputs
    rows = _scatter(match, indices, updates)
    op = "add" if match.node.op == "tf:TensorScatterAdd" else "sub"
    return None if rows is None else match.add(op, base, rows, shape=match.shape)


@rewrite("tf:TensorScatterUpdate")
def scatter_update(match: Match) -> Tensor | None:
    """Rows in their places, and elsewhere what stands there already."""
    base, indices, updates = match.inputs
    values, places = constant_of(base), _places(match, indices)
    if values is not None and not values.any():
        return _scatter(match, indices, updates)
    if places is None or is_fixed(base) or is_fixed(updates):  # these have one row where the batch is open
        return None
    count = _count_places(match, indices)
    there, rows = (_rows(match, x, indices.shape[-1], n) for x, n in ((base, count), (updates, len(places))))
    both = match.add("concat", there, rows, shape=(count + len(places), *rows.shape[1:]), axis=0)
    order = np.arange(count)
    order[places] = count + np.arange(len(places))
    return _gather_rows(match, both, order)


def _scatter(match: Match, indices: Tensor, updates: Tensor) -> Tensor | None:
    places = _places(match, indices)
    if places is None:
        return None
    rows = _rows(match, updates, indices.shape[-1], len(places))
    one_of_zeros = [[0, 1], *([0, 0] for _ in rows.shape[1:])]
    padded = match.add("pad", rows, shape=(len(places) + 1, *rows.shape[1:]), paddings=one_of_zeros)
    order = np.full(_count_places(match, indices), len(places))
    order[places] = np.arange(len(places))
    return _gather_rows(match, padded, order)


def _count_places(match: Match, indices: Tensor) -> int:
    return math.prod(size or 0 for size in match.shape[: indices.shape[-1]])


def _places(match: Match, indices: Tensor) -> NDArray[np.int64] | None:
    """Places, counted over the axes that the indices name; None where they are not known, or one is named twice."""
    constant, depth = constant_of(indices), indices.shape[-1]
    if constant is None or depth is None or None in match.shape[:depth]:
        return None
    sizes = [size or 0 for size in match.shape[:depth]]
    indices_by_axis = constant.reshape(-1, depth).T
    if not all((index >= 0).all() and (index < size).all() for index, size in zip(indices_by_axis, sizes, strict=True)):
        return None
    places = np.ravel_multi_index(tuple(indices_by_axis), sizes)
    return places if len(np.unique(places)) == len(places) else None


def _rows(match: Match, x: Tensor, depth: int, count: int) -> Tensor:
    """x as [count, ...], with the axes of the result after those that the indices name."""
    return match.reshape(x, (count, *match.shape[depth:]))


def _gather_rows(match: Match, rows: Tensor, order: NDArray[np.int64]) -> Tensor:
    shape = (len(order), *rows.shape[1:])
    gathered = match.add("gather_constant", rows, shape=shape, indices=order.tolist(), axis=0)
    return match.reshape(gathered, match.shape)
