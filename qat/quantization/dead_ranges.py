"""Ranges of numbers that are nothing but what rounding leaves of larger ones: kernels could not reach them.

How small a range is says nothing by itself: fields in tesla and currents in ampere are smaller than a millionth.
"""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, is_fixed
from qat.quantization.ir.operations import LINEAR
from qat.quantization.keras.activation_quantizer import SMALLEST_SPAN
from qat.quantization.kernels.narrowest_output import PRODUCTS, SHARE_OF_REACH, SUMS, narrowest_span
from qat.quantization.kernels.quantized_kernel import norm_scale
from qat.quantization.placement import MinMax, QuantSpec

DEAD_WIDTH = 1.0  # at most, of the range of a tensor that holds nothing: a tiny one needs factors that kernels refuse
LEAST_SPAN = 1e-30  # a scale below, times a kernel's, is no normal number of float32
NARROWEST = 1e-28  # to which a dead range is widened


def widen_dead(graph: Graph, min_max: dict[QuantSpec, MinMax]) -> dict[QuantSpec, MinMax]:
    """Give a range as wide as their operands to tensors that are tiny next to these, and to all that is made of them.

    Args:
        graph: the canonical graph with its ranges placed.
        min_max: (min, max) of each range as calibrated, real numbers in the tensor's unit.

    Returns:
        (min, max) of each range, in the same unit; those of living tensors at least as wide as their kernels need.
    """
    produced = {node.output_range.root() for node in graph.nodes if node.output_range is not None}
    widened, dead = dict(min_max), set()
    for quant_spec, (low, high) in min_max.items():
        if high - low <= LEAST_SPAN and (quant_spec.is_bound or quant_spec not in produced):  # as an input of zeros
            widened[quant_spec] = (low, low + DEAD_WIDTH)
    for node in graph.nodes:
        target = None if node.output_range is None else node.output_range.root()
        if target is None or target.is_bound or target in dead or target not in widened:
            continue
        low, high = widened[target]
        sizes = _sizes(node, widened)
        if high - low > SMALLEST_SPAN:  # nothing so wide is dead, but a difference may be far below the operands' step
            widened[target] = (low, max(high, low + _narrowest(node, sizes)))
            continue
        of_dead = node.op not in (*SUMS, *PRODUCTS) and any(each and each.root() in dead for each in node.input_ranges)
        if of_dead or high - low <= max(LEAST_SPAN, SHARE_OF_REACH * _reach(node, sizes)):
            widened[target] = (low, max(high, low + _dead_width(node, sizes)))
            dead.add(target)
    return widened


def _dead_width(node: Node, sizes: list[float]) -> float:
    """How wide the range of nothing is: at most `DEAD_WIDTH`, but for a kernel that would multiply by too much."""
    width = _reach(node, [size for size in sizes if size > 0]) or max(sizes, default=0.0) or DEAD_WIDTH
    return max(min(width, DEAD_WIDTH), _narrowest(node, sizes), NARROWEST)


def _narrowest(node: Node, sizes: list[float]) -> float:
    """How wide the range of the node's result is at least, from the sizes of its operands."""
    return narrowest_span(node.op, min(sizes), max(sizes), float(np.prod(sizes))) if sizes else 0.0


def _reach(node: Node, sizes: list[float]) -> float:
    """How large a number the op could make of operands of these sizes, but for their count; 0 where its kernel has no
    factor."""
    if node.op in SUMS:
        return max(sizes, default=0.0)
    if node.op == "squared_difference":
        return max(sizes, default=0.0) ** 2
    return float(np.prod(sizes)) if node.op in PRODUCTS else 0.0


def _sizes(node: Node, min_max: dict[QuantSpec, MinMax]) -> list[float]:
    """The largest absolute value of the kernel and of each operand, as far as placement has told their ranges."""
    sizes = [_size(*each, min_max) for each in zip(node.inputs, node.input_ranges, strict=False)]
    if node.op in LINEAR:
        sizes.append(float(np.max(np.abs(node.weights["kernel"].value * norm_scale(node)), initial=0.0)))
    return sizes


def _size(tensor: Tensor, quant_spec: QuantSpec | None, min_max: dict[QuantSpec, MinMax]) -> float:
    if quant_spec is not None and quant_spec.root() in min_max:
        return max(map(abs, min_max[quant_spec.root()]))
    return float(np.max(np.abs(tensor.node.value), initial=0.0)) if is_fixed(tensor) else 0.0
