"""Normalizations of rows that differ much in size: what int8 leaves of the squares of the small ones.

A row a tenth as large as the largest has squares a hundredth as large, which may all be code 0. Their sum, as a product
of the row with itself, is added up in 32 bits and rounded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.metrics import sqnr_db
from qat.quantization.ir.graph import Graph, Node
from qat.quantization.ir.interpret import run_node, walk
from qat.quantization.rewrites.builder import Builder, fixed_and_other, only_reader, scalar_of

ENOUGH_DB = 30.0  # of a normalized row by its squares on codes; the row itself has some 40
GAINED_DB = 3.0  # by sums of products, at least
STEPS = 255.0


def sum_products(graph: Graph, batches: Sequence[Sequence[NDArray]], in_float: frozenset[str]) -> None:
    """The mean of squares by which rows are normalized as a product of each row with itself, where that keeps more.

    Args:
        graph: the canonical graph without ranges; changed in place.
        batches: calibration data: per batch one array [n, ...] per input, in the graph's order; the first is looked at.
        in_float: names of Keras layers that compute in float, which are left alone.
    """
    means = [
        node
        for node in graph.nodes_of("mean")
        if (node.layer or node.name) not in in_float and _added(graph, node) is not None
    ]
    lossy = [mean for mean, rows in _rows(graph, means, batches[0]) if _loses(rows, _added(graph, mean))]
    for mean in lossy:
        _as_product(graph, mean)
    if lossy:
        graph.prune()
        graph.sort()


def _added(graph: Graph, mean: Node) -> float | None:
    """What is added to a mean of squares along the last axis before the root is taken of it; None of any other node."""
    square, last = mean.inputs[0].node, mean.inputs[0].rank - 1
    is_square = square.op == "mul" and square.inputs[0] is square.inputs[1]
    along_last = list(np.ravel(mean.attrs["axis"])) in ([last], [-1]) and mean.attrs["keepdims"] and last > 0
    reader = only_reader(graph, mean.output)
    if not is_square or not along_last or reader is None or only_reader(graph, square.output) is not mean:
        return None
    if reader.op == "rsqrt":
        return 0.0
    sum_of = only_reader(graph, reader.output) if reader.op == "add" else None
    return scalar_of(fixed_and_other(reader)[0]) if sum_of is not None and sum_of.op == "rsqrt" else None


def _rows(graph: Graph, means: Sequence[Node], batch: Sequence[NDArray]) -> Iterator[tuple[Node, NDArray]]:
    """Each of the nodes with what it takes the mean square of, float32 [..., channels]; one after another."""
    wanted = {mean.inputs[0].node.inputs[0]: mean for mean in means}
    if wanted:
        for tensor, value in walk(graph, [tf.constant(values) for values in batch], run_node):
            if tensor in wanted:
                yield wanted[tensor], value.numpy()


def _loses(rows: NDArray[np.float32], added: float | None) -> bool:
    """Whether squares on codes lose what sums of products would keep."""
    if added is None or not np.isfinite(rows).all():
        return False
    by_codes, by_products = (_kept(rows.astype(np.float64), added, on_codes) for on_codes in (True, False))
    return by_codes < min(ENOUGH_DB, by_products - GAINED_DB)


def _kept(rows: NDArray[np.float64], added: float, on_codes: bool) -> float:
    """The normalized rows with the mean of their squares on codes, and maybe the squares too, next to the exact ones.

    Each row counts alike: what a row is divided by may be wrong in the small ones alone.
    """
    squares = rows**2
    exact = squares.mean(axis=-1, keepdims=True)
    rounded = _on_codes(_on_codes(squares).mean(axis=-1, keepdims=True) if on_codes else exact)
    least = np.finfo(np.float32).tiny
    expected, found = (1.0 / np.sqrt(np.maximum(each + added, least)) for each in (exact, rounded))
    return sqnr_db(rows * expected, rows * np.minimum(found, expected.max()))


def _on_codes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    step = values.max() / STEPS
    return np.rint(values / step) * step if step > 0 else values


def _as_product(graph: Graph, mean: Node) -> None:
    """mean(x * x) as x x' / n."""
    x, build = mean.inputs[0].node.inputs[0], Builder(graph, mean)
    count = x.shape[-1]
    row = build.reshape(x, (None, 1, count))
    total = build.add("batch_matmul", row, row, shape=(None, 1, 1), adj_y=True)
    result = build.add("mul", build.reshape(total, mean.output.shape), 1.0 / count, shape=mean.output.shape)
    graph.record("sum_products", mean, mean.op, ["batch_matmul", "mul"])
    graph.substitute(mean, build.nodes, [result])
