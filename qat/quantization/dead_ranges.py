"""Ranges of numbers that are nothing but what rounding leaves of larger ones: kernels could not reach them.

How small a range is says nothing by itself: fields in tesla and currents in ampere are smaller than a millionth.
"""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor
from qat.quantization.kernels.quantized_kernel import norm_scale
from qat.quantization.placement import MinMax, QuantSpec
from qat.quantization.rewrites.builder import LINEAR, is_fixed

DEAD_WIDTH = 1.0  # of the range of a tensor that holds nothing: a tiny one needs factors that kernels refuse
SMALLEST_SPAN = 1e-6  # a range that is wider is never called dead
LEAST_SHARE = 1e-4  # of what the operands could make: XNNPACK multiplies by no more than 256
LEAST_SPAN = 1e-30  # a scale below, times a kernel's, is no normal number of float32
SUMS = ("add", "sub", "corrected", "sum", "mean", "cumsum", "requantize", "concat", "pack")
PRODUCTS = ("mul", "batch_matmul", "squared_difference", *LINEAR)


def widen_dead(graph: Graph, min_max: dict[QuantSpec, MinMax]) -> dict[QuantSpec, MinMax]:
    """Give a range of `DEAD_WIDTH` to what is tiny beside what its operands could make, and to all that is made of it.

    Args:
        graph: the canonical graph with its ranges placed.
        min_max: (min, max) of each range as calibrated, real numbers in the tensor's unit.

    Returns:
        (min, max) of each range, in the same unit; those of living tensors as they were.
    """
    widened, dead = dict(min_max), set()
    for node in graph.nodes:
        target = None if node.output_range is None else node.output_range.root()
        if target is None or target.is_bound or target in dead or target not in widened:
            continue
        low, high = widened[target]
        if high - low > SMALLEST_SPAN:
            continue
        of_dead = any(each is not None and each.root() in dead for each in node.input_ranges)
        if of_dead or high - low <= max(LEAST_SPAN, LEAST_SHARE * _reach(node, widened)):
            widened[target] = (low, low + DEAD_WIDTH)
            dead.add(target)
    return widened


def _reach(node: Node, min_max: dict[QuantSpec, MinMax]) -> float:
    """How large a number the op could make of its operands, but for their count; 0 where its kernel has no factor."""
    sizes = [_size(*each, min_max) for each in zip(node.inputs, node.input_ranges, strict=True)]
    if node.op in SUMS:
        return max(sizes, default=0.0)
    if node.op in PRODUCTS:
        kernel = node.weights["kernel"].value * norm_scale(node) if node.op in LINEAR else np.ones(1)
        return float(np.prod([*sizes, np.max(np.abs(kernel), initial=0.0)]))
    return 0.0


def _size(tensor: Tensor, quant_spec: QuantSpec | None, min_max: dict[QuantSpec, MinMax]) -> float:
    if quant_spec is not None and quant_spec.root() in min_max:
        return max(map(abs, min_max[quant_spec.root()]))
    return float(np.max(np.abs(tensor.node.value), initial=0.0)) if is_fixed(tensor) else 0.0
