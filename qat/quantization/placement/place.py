"""The pass itself: each node by the kind of its kernel."""

from __future__ import annotations

from qat.quantization.ir.graph import Graph, Node
from qat.quantization.ir.operations import POLES
from qat.quantization.placement.kernels import (
    BETWEEN_CODES,
    NEVER_QUANTIZED,
    ROUNDS_AT_SAME_SCALE,
    SAME_SCALE,
    UNIFIES,
)
from qat.quantization.placement.moved import fills, place_filling, place_rounding, place_same_scale
from qat.quantization.placement.own import place_lstm, place_own
from qat.quantization.placement.range import Range
from qat.quantization.placement.state import Placement, requantize
from qat.quantization.placement.united import place_unifying, share_between_steps
from qat.quantization.rewrites.builder import LINEAR
from qat.quantization.rewrites.comparisons import COMPARISONS


def place(graph: Graph, skipped: frozenset[str] = frozenset()) -> list[Range]:
    """Insert the fake-quant nodes and return the ranges that need values.

    The layers in `skipped` compute in float; what they read and what leaves them is quantized all the same.
    """
    state = Placement(graph, skipped)
    main = graph.behind_outputs()
    for node in list(graph.nodes):
        if id(node) not in main:
            node.in_float = True  # for a loss that is added in training: no part of the file
            continue
        computes = node.op not in NEVER_QUANTIZED and node.output.dtype == "float32"
        if computes and id(node) not in state.done and node.output not in state.range_of:
            _place(state, node)
    _without_range(state)
    for node in graph.of(*LINEAR, *BETWEEN_CODES, *POLES, "lstm"):
        node.input_ranges = [state.range_of.get(tensor) for tensor in node.inputs]
    share_between_steps(state)
    return [on for on in state.ranges if on.merged_into is None]


def _place(state: Placement, node: Node) -> None:
    if node.op == "embedding":
        return  # its rows are codes already, on the scale of the table
    if node.op == "lstm":
        place_lstm(state, node)
    elif fills(state, node):
        place_filling(state, node)
    elif node.op in SAME_SCALE:
        place_same_scale(state, node)
    elif node.op in ROUNDS_AT_SAME_SCALE:
        place_rounding(state, node)
    elif node.op in UNIFIES:
        place_unifying(state, node)
    else:
        place_own(state, node)


def _without_range(state: Placement) -> None:
    """An op whose result has no range is quantized by its operands' ranges, unless these are read in float as well, as
    the model's outputs or by another CAST: then it reads them through an op of its own."""
    for node in state.graph.of("argmax", *COMPARISONS):
        for tensor in dict.fromkeys(node.inputs):
            in_float = any(reader.op in ("float_barrier", "requantize") for reader in state.readers.get(tensor, []))
            if tensor in state.range_of and (in_float or id(tensor) in state.outputs):
                requantize(state, tensor, node, state.range_of[tensor])
