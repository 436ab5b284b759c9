"""The pass itself: each node by the kind of its kernel."""

from __future__ import annotations

from qat.quantization.ir.graph import Graph, Node
from qat.quantization.ir.operations import COMPARISONS, LINEAR, POLES
from qat.quantization.kernels.integer_kernels import SIMULATED_KERNELS
from qat.quantization.placement.moved import needs_range_for_padding, place_padding, place_rounding, place_same_scale
from qat.quantization.placement.op_scales import (
    NEVER_QUANTIZED,
    ONE_RANGE_FOR_ALL,
    ROUNDS_AT_SAME_SCALE,
    SAME_SCALE,
)
from qat.quantization.placement.own import place_lstm, place_own
from qat.quantization.placement.quant_spec import QuantSpec
from qat.quantization.placement.state import Placement, requantize
from qat.quantization.placement.united import place_shared, share_between_time_steps


def place(graph: Graph, skipped: frozenset[str] = frozenset()) -> list[QuantSpec]:
    """Insert the fake-quant nodes and return the ranges that need values.

    Args:
        graph: a canonical graph, changed in place.
        skipped: names of Keras layers that compute in float; what they read of others and return to others is quantized
            nevertheless.

    Returns:
        The ranges that need (min, max), in the order of their nodes; those that were merged into others are left out.
    """
    state = Placement(graph, skipped)
    main = graph.needed_by_outputs()
    for node in list(graph.nodes):
        if id(node) not in main:
            node.in_float = True  # it computes a loss that training adds: no part of the file
            continue
        computes = node.op not in NEVER_QUANTIZED and node.output.dtype == "float32"
        if computes and id(node) not in state.done and node.output not in state.range_of:
            _place(state, node)
    _place_ops_without_range(state)
    for node in graph.nodes_of(*LINEAR, *SIMULATED_KERNELS, *POLES, "lstm", "custom_gradient"):
        node.input_ranges = [state.range_of.get(tensor) for tensor in node.inputs]
    share_between_time_steps(state)
    return [quant_spec for quant_spec in state.ranges if quant_spec.root() is quant_spec]


def _place(state: Placement, node: Node) -> None:
    if node.op == "embedding":
        return  # its rows are codes on the scale of the table
    if node.op == "lstm":
        place_lstm(state, node)
    elif state.reads_float(node):
        place_own(state, node)
    elif needs_range_for_padding(state, node):
        place_padding(state, node)
    elif node.op in SAME_SCALE:
        place_same_scale(state, node)
    elif node.op in ROUNDS_AT_SAME_SCALE:
        place_rounding(state, node)
    elif node.op in ONE_RANGE_FOR_ALL:
        place_shared(state, node)
    else:
        place_own(state, node)


def _place_ops_without_range(state: Placement) -> None:
    """Ops without a range for their result, as comparisons, are quantized by the ranges of their operands.

    Where an operand is also read in float or requantized, or is an output of the model, it is requantized for them.
    """
    for node in state.graph.nodes_of("argmax", "argmin", "top_k_index", *COMPARISONS):
        for tensor in dict.fromkeys(node.inputs):
            in_float = any(consumer.op in ("dequantize", "requantize") for consumer in state.consumers.get(tensor, []))
            if tensor in state.range_of and (in_float or id(tensor) in state.outputs):
                requantize(state, tensor, node, state.range_of[tensor].derive())
