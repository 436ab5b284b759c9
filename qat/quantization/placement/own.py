"""Kernels that scale their result freely, or prescribe its range; and clamps, whose bounds become one."""

from __future__ import annotations

from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.placement.kernels import BETWEEN_CODES, FIXED_RANGE, FUSES_RELU, RELUS
from qat.quantization.placement.range import Range
from qat.quantization.placement.state import Placement, may_join
from qat.quantization.rewrites.builder import LINEAR


def place_own(state: Placement, node: Node) -> None:
    """A kernel that scales its output freely: a range of its own, behind what fuses with it."""
    if node.op == "clamp" and (_saturate_earlier(state, node) or _saturate_again(state, node)):
        return
    last = _activation_after(state, node)
    state.done.add(id(last))
    fixed = FIXED_RANGE.get(node.op)
    if last.op == "clamp":
        fixed = (last.attrs["low"], last.attrs["high"])
    node.in_float = last.in_float = state.in_float(node)
    if node.in_float and node.op in (*FIXED_RANGE, "clamp"):
        state.read_in_float(node)
    made = state.stay_in_float(last) if state.in_float(node) else last.output
    on = state.new_range(last, fixed)
    on.saturates = last.op == "clamp"
    state.quantize(made, on)
    if node.op in (*LINEAR, *BETWEEN_CODES) and not node.in_float:
        node.output_range = on


def _activation_after(state: Placement, node: Node) -> Node:
    """The last node of what the converter fuses with `node`: a ReLU, or a saturation that the range itself makes."""
    reader = state.only_reader(node.output)
    if reader is None or state.in_float(node) != state.in_float(reader):
        return node
    if node.op in FUSES_RELU and reader.op in RELUS:
        return reader
    return reader if reader.op == "clamp" else node


def _saturate_earlier(state: Placement, node: Node) -> bool:
    """A clamp of what nobody else reads: its bounds are the range of what is clamped, wherever that is rounded."""
    source = node.inputs[0]
    on = state.range_of.get(source)
    if (
        on is None
        or state.in_float(node)
        or on.root().masked
        or on.root().feeds_back
        or not may_join(state, source, on.root(), narrower=True)
    ):
        return False
    on.root().fixed, on.root().saturates = (node.attrs["low"], node.attrs["high"]), True
    state.range_of[node.output] = on
    return True


def _saturate_again(state: Placement, node: Node) -> bool:
    """A clamp of what others read unclamped: a range behind a range, between which stands an op of its own."""
    on = state.range_of.get(node.inputs[0])
    if on is None or state.in_float(node):
        return False
    source = node.inputs[0]
    made = state.graph.make("requantize", f"{node.name}/own", [source], shape=source.shape, layer=node.layer)
    made.output_range = state.new_range(node, (node.attrs["low"], node.attrs["high"]))
    made.output_range.saturates = True
    node.inputs = [made.output]
    state.graph.insert_before(node, made)
    state.readers[source] = [made if each is node else each for each in state.readers[source]]
    state.readers[made.output] = [node]
    state.quantize(node.output, made.output_range)
    return True


def place_lstm(state: Placement, node: Node) -> None:
    """One range for the output, which is the state too, and one for the cell, which no other op ever sees."""
    node.in_float = state.in_float(node)
    on = state.new_range(node)
    on.feeds_back = True
    if node.in_float:
        state.quantize(state.stay_in_float(node), on)
        return
    state.quantize(node.output, on)
    node.output_range = on
    cell = Tensor(node, 1, node.output.shape, node.output.dtype)
    node.outputs.append(cell)
    of_cell = Range(f"{node.name}/cell", node.layer or node.name, entire=True, tensors=[cell])
    node.attrs["cell_range"] = of_cell
    state.ranges.append(of_cell)
