"""Kernels whose result has a range of its own or one that they prescribe; and clamps, which bound a range."""

from __future__ import annotations

from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.ir.operations import LINEAR, RELUS
from qat.quantization.kernels.integer_kernels import SIMULATED_KERNELS
from qat.quantization.placement.op_scales import FIXED_RANGE, FUSES_RELU, fixed_range
from qat.quantization.placement.quant_spec import Fixed, Own, QuantSpec
from qat.quantization.placement.state import Placement, can_share_range


def place_own(state: Placement, node: Node) -> None:
    """A range for the output of a node, after the activation that is fused with it.

    Args:
        state: the placement so far; nodes are inserted into its graph.
        node: a node with a real output of any shape, whose kernel takes any scale for it, or prescribes one.
    """
    if node.op == "clamp" and (_clamp_in_place(state, node) or _clamp_requantized(state, node)):
        return
    last = _last_fused(state, node)
    state.done.add(id(last))
    fixed = fixed_range(node)
    kind: Own | Fixed = Own() if fixed is None else Fixed(fixed)
    kind = _bounded(last) if last.op == "clamp" else kind
    node.in_float = last.in_float = state.computes_in_float(node)
    if node.in_float and node.op in (*FIXED_RANGE, "clamp") and node.inputs[0] in state.range_of:
        state.dequantize_input(node)
    if state.stays_in_float(last):
        state.left_in_float.add(id(last))
        return
    output = state.dequantize_output(last) if state.computes_in_float(node) else last.output
    quant_spec = state.new_range(last, kind)
    state.quantize(output, quant_spec)
    if node.op in (*LINEAR, *SIMULATED_KERNELS) and not node.in_float:
        node.output_range = quant_spec


def _last_fused(state: Placement, node: Node) -> Node:
    """The last node that is fused with `node`: a ReLU, or a clamp, which the range itself does; else `node`."""
    consumer = state.only_consumer(node.output)
    if consumer is None or state.computes_in_float(node) != state.computes_in_float(consumer):
        return node
    if node.op in FUSES_RELU and consumer.op in RELUS:
        return consumer
    return consumer if consumer.op == "clamp" and node.op not in ("round", *FIXED_RANGE) else node


def _bounded(clamp: Node) -> Own:
    return Own(bounds=(clamp.attrs["low"], clamp.attrs["high"]))


def _clamp_in_place(state: Placement, node: Node) -> bool:
    """A clamp that alone reads its input: it bounds the range of the input. Returns whether that is done."""
    source = node.inputs[0]
    quant_spec = state.range_of.get(source)
    if (
        quant_spec is None
        or state.computes_in_float(node)
        or quant_spec.root().masked
        or quant_spec.root().holds_recurrent_state
        or not can_share_range(state, source, quant_spec.root(), narrower=True)
    ):
        return False
    quant_spec.root().kind = _bounded(node)
    state.range_of[node.output] = quant_spec
    return True


def _clamp_requantized(state: Placement, node: Node) -> bool:
    """A clamp of a tensor that others read unclamped: requantized to its bounds. Returns whether that is done."""
    quant_spec = state.range_of.get(node.inputs[0])
    if quant_spec is None or state.computes_in_float(node):
        return False
    source = node.inputs[0]
    requantize = state.graph.make("requantize", f"{node.name}/own", [source], shape=source.shape, layer=node.layer)
    requantize.output_range = state.new_range(node, _bounded(node))
    node.inputs = [requantize.output]
    state.graph.insert_before(node, requantize)
    state.consumers[source] = [requantize if each is node else each for each in state.consumers[source]]
    state.consumers[requantize.output] = [node]
    state.quantize(node.output, requantize.output_range)
    return True


def place_lstm(state: Placement, node: Node) -> None:
    """One range for the output, which is the state too, and one for the cell, which no other op reads.

    Args:
        state: the placement so far; nodes are inserted into its graph.
        node: an `lstm` node; it gets the cell, [n, steps, units] as the output, as its second output.
    """
    node.in_float = state.computes_in_float(node)
    if state.stays_in_float(node):
        state.left_in_float.add(id(node))
        return
    quant_spec = state.new_range(node)
    quant_spec.holds_recurrent_state = True
    if node.in_float:
        state.quantize(state.dequantize_output(node), quant_spec)
        return
    state.quantize(node.output, quant_spec)
    node.output_range = quant_spec
    cell = Tensor(node, 1, node.output.shape, node.output.dtype)
    node.outputs.append(cell)
    cell_spec = QuantSpec(f"{node.name}/cell", node.layer or node.name, Own(minmax=True), tensors=[cell])
    node.attrs["cell_range"] = cell_spec
    state.ranges.append(cell_spec)
