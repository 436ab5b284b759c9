"""Where values end by themselves, as those of a ReLU do at 0: a trained bound there is reached in float, too."""

from __future__ import annotations

from qat.quantization.ir.graph import Node
from qat.quantization.placement.op_scales import SAME_SCALE

ENDS = {"relu": {"maximum": 0.0}, "relu6": {"maximum": 0.0, "minimum": 6.0}}
MOVES = SAME_SCALE - {"custom_gradient", "dropped", "embedding", "in_training", "pad"} | {"fake_quant", "requantize"}


def own_end(node: Node) -> float | None:
    """The value at which the first operand of a maximum or minimum ends; None of another op, and where it has none."""
    if node.op not in ("maximum", "minimum"):
        return None
    before = node.inputs[0].node
    while before.op in MOVES:
        before = before.inputs[0].node
    if before.op == "clamp":
        return float(before.attrs["low" if node.op == "maximum" else "high"])
    return ENDS.get(before.op, {}).get(node.op)
