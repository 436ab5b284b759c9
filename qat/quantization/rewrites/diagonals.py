"""Diagonals of matrices, taken out and put in, and the product of vectors in space."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Tensor
from qat.quantization.rewrites.builder import Match, constant_of
from qat.quantization.rewrites.driver import rewrite


def _is_main(match: Match, at: int) -> bool:
    """Whether the op's operand at that place says that the main diagonal is meant."""
    which = constant_of(match.inputs[at])
    return which is not None and not np.any(which)


@rewrite("tf:MatrixDiagPartV3")
def diagonal(match: Match) -> Tensor | None:
    """The main diagonal of matrices, at its places in the flat matrix."""
    x = match.inputs[0]
    if not _is_main(match, 1) or None in x.shape[-2:]:
        return None
    rows, columns = x.shape[-2:]
    flat = match.reshape(x, (*x.shape[:-2], rows * columns))
    places = [at * (columns + 1) for at in range(min(rows, columns))]
    return match.add("gather_constant", flat, shape=match.shape, indices=places, axis=x.rank - 2)


@rewrite("tf:MatrixDiagV3", "tf:MatrixSetDiagV3")
def matrix_with_diagonal(match: Match) -> Tensor | None:
    """Numbers on the main diagonal; elsewhere 0, or what stands there already."""
    alone = match.node.op == "tf:MatrixDiagV3"
    numbers = match.inputs[0 if alone else 1]
    rows, columns = match.shape[-2:]
    if not _is_main(match, 1 if alone else 2) or None in (rows, columns) or rows > columns:
        return None
    places = match.graph.make_constant(np.eye(rows, columns, dtype=bool), f"{match.node.name}/places", match.node.layer)
    match.nodes.append(places)
    wide = match.reshape(numbers, (*numbers.shape, 1))
    return match.add("select", places.output, wide, 0.0 if alone else match.inputs[0], shape=match.shape)


@rewrite("tf:Cross")
def cross_product(match: Match) -> Tensor:
    """Two products of the vectors' numbers in turned order, one from the other."""
    turned = [
        match.add("gather_constant", x, shape=x.shape, indices=order, axis=x.rank - 1)
        for order in ([1, 2, 0], [2, 0, 1])
        for x in match.inputs
    ]
    x1, y1, x2, y2 = turned
    return match.add("sub", match.add("mul", x1, y2), match.add("mul", x2, y1), shape=match.shape)
