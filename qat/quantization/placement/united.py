"""One range for several operands, or for several time steps."""

from __future__ import annotations

from qat.quantization.ir.graph import Node, Tensor, is_fixed
from qat.quantization.placement.op_scales import ONLY_RESULT, SAME_SCALE
from qat.quantization.placement.quant_spec import QuantSpec, merge
from qat.quantization.placement.state import Placement, can_share_range, requantize


def place_shared(state: Placement, node: Node) -> None:
    """One range for all inputs and the output, as the kernel needs it.

    The ranges of operands are merged into it where they can be; where one cannot, the operand is requantized by an op
    of its own and the output is quantized. For maximum and minimum only the result has to be in range: values of an
    operand beyond it never come out.

    Args:
        state: the placement so far; nodes are inserted into its graph, and ranges merged.
        node: a node whose op is in `ONE_RANGE_FOR_ALL`; its operands are real tensors of any shapes.
    """
    if node.shares_range:
        return _share_last_range(state, node)
    operands = [tensor for tensor in node.inputs if tensor.dtype == "float32"]
    ranges = [None if is_fixed(tensor) else state.range_of.get(tensor) for tensor in operands]
    same = len({_time_step_identity(quant_spec) for quant_spec in ranges}) == 1 and ranges[0] is not None
    if same and node.op != "masked":
        for quant_spec in ranges:
            if quant_spec.root() is not ranges[0].root():
                merge(quant_spec.root(), ranges[0].root())
        state.range_of[node.output] = ranges[0]
        return
    shared = state.new_range(node)
    recurrent = [quant_spec is not None and quant_spec.root().holds_recurrent_state for quant_spec in ranges]
    shared.holds_recurrent_state = all(recurrent) and node.op not in ONLY_RESULT
    requantized: dict[Tensor, None] = {}
    for tensor, quant_spec, is_recurrent in zip(operands, ranges, recurrent, strict=True):
        if quant_spec is None or quant_spec.root() is shared:
            continue
        if (shared.holds_recurrent_state or not is_recurrent) and can_share_range(
            state, tensor, quant_spec.root(), node.op in ONLY_RESULT
        ):
            merge(quant_spec.root(), shared)
        else:
            requantized[tensor] = None
    rows = [tensor for tensor in operands if holds_embedding_rows(tensor) and node.op != "masked"]
    for tensor in dict.fromkeys(rows):  # codes on the grid of their table
        requantize(state, tensor, node, shared)
    ranges = [shared if tensor in rows else quant_spec for tensor, quant_spec in zip(operands, ranges, strict=True)]
    for tensor in requantized:
        requantize(state, tensor, node, shared.derive())
    if node.op in ONLY_RESULT:
        shared.tensors.clear()
    shared.masked = node.op == "masked"
    is_shared = all(quant_spec is not None and quant_spec.root() is shared for quant_spec in ranges)
    if is_shared and node.op not in ONLY_RESULT:
        state.range_of[node.output] = shared
    else:
        state.quantize(node.output, shared)
        node.output_range = shared if None in ranges else None


def holds_embedding_rows(tensor: Tensor) -> bool:
    """Whether the tensor holds rows of an embedding, possibly moved."""
    while tensor.node.op in SAME_SCALE and tensor.node.op != "embedding":
        tensor = next((each for each in tensor.node.inputs if not is_fixed(each)), tensor.node.inputs[0])
    return tensor.node.op == "embedding"


def _share_last_range(state: Placement, node: Node) -> None:
    """Merge the ranges of all operands into that of the last one, which an op may prescribe."""
    target = state.range_of[node.inputs[-1]].root()
    for tensor in node.inputs[:-1]:
        if state.range_of[tensor].root() is not target:
            merge(state.range_of[tensor].root(), target)
    state.range_of[node.output] = target


def share_between_time_steps(state: Placement) -> None:
    """One range per op for all time steps of an unrolled layer.

    One time step shows calibration a fraction of what the op computes, and the layer's weights are the same in all.
    """
    first: dict[tuple | int, QuantSpec] = {}
    for quant_spec in state.ranges:
        root = quant_spec.root()
        if root.time_step_key:
            shared = first.setdefault(_time_step_identity(root), root)
            if shared is not root and shared.root() is not root:
                merge(root, shared.root())


def _time_step_identity(quant_spec: QuantSpec | None) -> tuple | int:
    """A key that is equal for ranges that are, or will be, merged."""
    if quant_spec is None or not quant_spec.root().time_step_key:
        return id(quant_spec and quant_spec.root())
    return (
        quant_spec.root().time_step_key,
        quant_spec.root().fixed,
        quant_spec.root().bounds,
        quant_spec.root().masked,
    )
