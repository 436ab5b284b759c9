"""Kernels whose result is on the scale of their input."""

from __future__ import annotations

from qat.quantization.ir.graph import Node, is_fixed
from qat.quantization.ir.operations import MASKED_BELOW, RELUS
from qat.quantization.placement.quant_spec import merge
from qat.quantization.placement.state import Placement, can_share_range, requantize
from qat.quantization.placement.united import holds_embedding_rows


def place_same_scale(state: Placement, node: Node) -> None:
    """The outputs share the range of the first operand that is no constant.

    Args:
        state: the placement so far; the outputs' ranges are noted in it.
        node: a node whose op is in `SAME_SCALE`; its operands are real tensors of any shapes.
    """
    source = next((tensor for tensor in node.inputs if not is_fixed(tensor)), None)
    quant_spec = state.range_of.get(source) if source is not None else None
    if quant_spec is None:
        return
    for output in node.outputs:
        state.range_of[output] = quant_spec


def place_rounding(state: Placement, node: Node) -> None:
    """Quantize a node whose kernel rounds to the codes of its input: a derived use of the same range.

    Args:
        state: the placement so far; a fake-quant node is inserted into its graph.
        node: a node whose op is in `ROUNDS_AT_SAME_SCALE`; its input is a real tensor of any shape.
    """
    quant_spec = state.range_of.get(node.inputs[0])
    if quant_spec is None:
        if not holds_embedding_rows(node.inputs[0]):
            return
        quant_spec = state.new_range(node)  # the grid of their table is no range that a layer could round to
        requantize(state, node.inputs[0], node, quant_spec)
    node.output_range = state.range_of[node.output] = quant_spec
    activation = _relu_after_moves(state, node) if node.op == "avg_pool" else None
    if activation is not None:
        state.done.add(id(activation))
        node = activation
    state.quantize(node.output, quant_spec.derive())


def _relu_after_moves(state: Placement, node: Node) -> Node | None:
    """The ReLU that is fused into a pooling, through reshapes, and then has its scale."""
    consumer = state.only_consumer(node.output)
    while consumer is not None and consumer.op == "reshape":
        consumer = state.only_consumer(consumer.output)
    if (
        consumer is None
        or consumer.op not in RELUS
        or state.computes_in_float(consumer) != state.computes_in_float(node)
    ):
        return None
    return consumer


def needs_range_for_padding(state: Placement, node: Node) -> bool:
    """Whether a node pads with a number other than 0 that has to be in range; minus infinity before a maximum need not.

    Args:
        state: the placement so far, with the consumers of each tensor.
        node: a node of any op.

    Returns:
        True for a `pad` whose number is not 0 and is read by more than maxima; else False.
    """
    value = node.attrs.get("value", 0.0) if node.op == "pad" else 0.0
    consumers = state.consumers.get(node.output, [])
    never_read = value <= MASKED_BELOW and consumers and id(node.output) not in state.outputs
    return value != 0 and not (never_read and all(consumer.op == "max_pool" for consumer in consumers))


def place_padding(state: Placement, node: Node) -> None:
    """A pad with a number other than 0: one range for the number and what is padded.

    Args:
        state: the placement so far; nodes are inserted into its graph.
        node: a `pad` node for which `needs_range_for_padding` holds; its input is a real tensor of any shape.
    """
    source = node.inputs[0]
    quant_spec = state.range_of.get(source)
    if quant_spec is None and not holds_embedding_rows(source):
        return
    shared = state.new_range(node)
    if quant_spec is None:  # codes on the grid of their table, which the number may be beyond
        requantize(state, source, node, shared)
    elif (
        quant_spec.root().holds_recurrent_state
        or quant_spec.root().masked
        or not can_share_range(state, source, quant_spec.root())
    ):
        requantize(state, source, node, shared.derive())
    else:
        merge(quant_spec.root(), shared)
    state.quantize(node.output, shared)
