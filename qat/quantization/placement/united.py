"""Several operands, or several time steps, on one range."""

from __future__ import annotations

from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.placement.kernels import ONLY_RESULT, SAME_SCALE
from qat.quantization.placement.range import Range, merge
from qat.quantization.placement.state import Placement, may_join, requantize
from qat.quantization.rewrites.builder import is_fixed


def place_unifying(state: Placement, node: Node) -> None:
    """All inputs and the output on one range. Producers that can join it do; where one cannot, the output is quantized.

    An operand from elsewhere is requantized by an op of its own. Of maximum and minimum only the result needs to be
    in range: what an operand loses beyond it never comes out.
    """
    if node.joins:
        return _join(state, node)
    operands = [tensor for tensor in node.inputs if tensor.dtype == "float32"]
    found = [None if is_fixed(tensor) else state.range_of.get(tensor) for tensor in operands]
    same = len({_same_in_all_steps(on) for on in found}) == 1 and found[0] is not None
    if same and node.op != "masked":
        for on in found:
            if on.root() is not found[0].root():
                merge(on.root(), found[0].root())
        state.range_of[node.output] = found[0]
        return
    shared = state.new_range(node)
    goes_round = [on is not None and on.root().feeds_back for on in found]
    shared.feeds_back = all(goes_round) and node.op not in ONLY_RESULT
    apart: dict[Tensor, None] = {}
    for tensor, on, again in zip(operands, found, goes_round, strict=True):
        if on is None or on.root() is shared:
            continue
        if (shared.feeds_back or not again) and may_join(state, tensor, on.root(), node.op in ONLY_RESULT):
            merge(on.root(), shared)
        else:
            apart[tensor] = None
    rows = [tensor for tensor in operands if _holds_rows(tensor) and node.op != "masked"]
    for tensor in dict.fromkeys(rows):  # codes already, on the grid of their table
        requantize(state, tensor, node, shared, again=False)
    found = [shared if tensor in rows else on for tensor, on in zip(operands, found, strict=True)]
    for tensor in apart if node.op != "masked" else ():
        requantize(state, tensor, node, shared)
    if node.op in ONLY_RESULT:
        shared.tensors.clear()
    shared.masked = node.op == "masked"
    joined = all(on is not None and on.root() is shared for on in found)
    if joined and node.op not in ONLY_RESULT:
        state.range_of[node.output] = shared
    else:
        state.quantize(node.output, shared)
        node.output_range = shared if None in found else None


def _holds_rows(tensor: Tensor) -> bool:
    """Whether the tensor holds rows of an embedding, moved or not."""
    while tensor.node.op in SAME_SCALE and tensor.node.op != "embedding":
        tensor = next((each for each in tensor.node.inputs if not is_fixed(each)), tensor.node.inputs[0])
    return tensor.node.op == "embedding"


def _join(state: Placement, node: Node) -> None:
    """All operands on the range of the last one, which an op may prescribe."""
    target = state.range_of[node.inputs[-1]].root()
    for tensor in node.inputs[:-1]:
        if state.range_of[tensor].root() is not target:
            merge(state.range_of[tensor].root(), target)
    state.range_of[node.output] = target


def share_between_steps(state: Placement) -> None:
    """One range for all time steps of an unrolled layer.

    Each step alone shows calibration a fraction of what the op computes, and the layer's weights are the same in all.
    """
    first: dict[tuple | int, Range] = {}
    for on in state.ranges:
        root = on.root()
        if root.step:
            shared = first.setdefault(_same_in_all_steps(root), root)
            if shared is not root and shared.root() is not root:
                merge(root, shared.root())


def _same_in_all_steps(on: Range | None) -> tuple | int:
    """What ranges have in common that are, or will be, one."""
    if on is None or not on.root().step:
        return id(on and on.root())
    return (on.root().step, on.root().fixed, on.root().masked)
