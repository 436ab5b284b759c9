"""The range of a sum is no smaller than the kernel of a sum can reach from the ranges of its operands."""

from __future__ import annotations

from qat.quantization.ir.graph import Graph
from qat.quantization.placement import MinMax, QuantSpec

SUMS = ("add", "sub", "corrected")
KERNEL_RATIO = 2.0**19  # of the scales of operand and sum: from there on, LiteRT's kernels end the process


def widen_sums(graph: Graph, min_max: dict[QuantSpec, MinMax]) -> dict[QuantSpec, MinMax]:
    """Widen the range of each sum that is tiny next to an operand's, as that of a dead variance and an epsilon is.

    Args:
        graph: the canonical graph with its ranges placed.
        min_max: (min, max) of each range as calibrated, real numbers in the tensor's unit.

    Returns:
        (min, max) of each range, in the same unit; zero points stay.
    """
    widened = dict(min_max)
    for node in graph.nodes_of(*SUMS):
        target = None if node.output_range is None else node.output_range.root()
        operands = [each.root() for each in node.input_ranges if each is not None]
        if target is None or target.is_bound or not operands:
            continue
        least = max(widened[each][1] - widened[each][0] for each in operands) / (KERNEL_RATIO / 2)
        low, high = widened[target]
        factor = max(1.0, least / (high - low))
        widened[target] = (low * factor, high * factor)
    return widened
