"""The range of an inverse root ends where the codes of what it is taken of end.

Next to rows of large deviations, the variance of a row that hardly differs from 0 has code 0, which says no more than
that it is below half a step. A range up to the inverse root of the real variance would hold nothing that the file can
compute, and leave few codes, or none, to the rows that matter: positions of padding that a mask has set to 0 do that.
"""

from __future__ import annotations

import math

from qat.codes import scale_of_range
from qat.quantization.ir.graph import Graph
from qat.quantization.placement import MinMax, QuantSpec


def narrow_roots(graph: Graph, min_max: dict[QuantSpec, MinMax]) -> dict[QuantSpec, MinMax]:
    """End the range of each inverse root at the root of half a step of its operand, as `Op` computes it for code 0.

    Args:
        graph: the canonical graph with its ranges placed.
        min_max: (min, max) of each range as calibrated, real numbers in the tensor's unit.

    Returns:
        (min, max) of each range, in the same unit; those that end before are as they were.
    """
    largest: dict[QuantSpec, float] = {}
    for node in graph.nodes_of("rsqrt"):
        if node.output_range is None or node.input_ranges[0] is None:
            continue
        target, source = node.output_range.root(), node.input_ranges[0].root()
        if target.fixed is None and all(tensor.node.op == "rsqrt" for tensor in target.tensors):
            half = 0.5 * scale_of_range(*min_max[source], 255.0)
            largest[target] = max(largest.get(target, 0.0), 1.0 / math.sqrt(half))
    return min_max | {key: (min_max[key][0], min(min_max[key][1], high)) for key, high in largest.items()}
