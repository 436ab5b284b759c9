"""Kernels that give their result on the scale of what they read."""

from __future__ import annotations

from qat.quantization.ir.graph import Node
from qat.quantization.placement.kernels import RELUS
from qat.quantization.placement.range import merge
from qat.quantization.placement.state import Placement, may_join, requantize
from qat.quantization.rewrites.builder import is_fixed
from qat.quantization.rewrites.masks import MASKED_BELOW


def place_same_scale(state: Placement, node: Node) -> None:
    source = next((tensor for tensor in node.inputs if not is_fixed(tensor)), None)
    on = state.range_of.get(source) if source is not None else None
    if on is None:
        return
    for output in node.outputs:
        state.range_of[output] = on


def place_rounding(state: Placement, node: Node) -> None:
    """The kernel rounds to the codes of its input: the same range once more."""
    on = state.range_of.get(node.inputs[0])
    if on is None:
        return
    node.output_range = state.range_of[node.output] = on
    activation = _relu_behind_moves(state, node) if node.op == "avg_pool" else None
    if activation is not None:
        state.done.add(id(activation))
        node = activation
    state.quantize(node.output, on, again=True)


def _relu_behind_moves(state: Placement, node: Node) -> Node | None:
    """The ReLU that the converter takes into a pooling, whose scale it then has."""
    reader = state.only_reader(node.output)
    while reader is not None and reader.op == "reshape":
        reader = state.only_reader(reader.output)
    if reader is None or reader.op not in RELUS or state.in_float(reader) != state.in_float(node):
        return None
    return reader


def fills(state: Placement, node: Node) -> bool:
    """Whether the number has to be in range: minus infinity before a maximum, or what stands for it, need not."""
    value = node.attrs.get("value", 0.0) if node.op == "pad" else 0.0
    readers = state.readers.get(node.output, [])
    hidden = value <= MASKED_BELOW and readers and id(node.output) not in state.outputs
    return value != 0 and not (hidden and all(reader.op == "max_pool" for reader in readers))


def place_filling(state: Placement, node: Node) -> None:
    """A pad with another number than 0: one range for it and for what is padded."""
    source = node.inputs[0]
    on = state.range_of.get(source)
    if on is None:
        return
    shared = state.new_range(node)
    if on.root().feeds_back or on.root().masked or not may_join(state, source, on.root()):
        requantize(state, source, node, shared)
    else:
        merge(on.root(), shared)
    state.quantize(node.output, shared)
