"""What an op and its ranges do in training: follow what they are shown, cut off what lies beyond, end at a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qat.quantization.ir.graph import Node, Tensor, is_fixed
from qat.quantization.placement import ONLY_RESULT, SAME_SCALE, SHARES_RANGE, Derived

Consumers = Mapping[Tensor, Sequence[Node]]
ENDS = {"relu": {"maximum": 0.0}, "relu6": {"maximum": 0.0, "minimum": 6.0}}
NOT_IN_FILE = ("custom_gradient", "dropped", "for_training", "identity", "in_training", "stop_gradient")
MOVING = SAME_SCALE - {"custom_gradient", "dropped", "embedding", "in_training", "pad"} | {"fake_quant", "requantize"}


def observes(node: Node) -> bool:
    """Whether the range of a `fake_quant` node learns something new at this place."""
    return (
        not isinstance(node.attrs["quant_spec"].kind, Derived)
        and node.inputs[0] in node.attrs["quant_spec"].root().tensors
    )


def cuts_nothing_off(node: Node, consumers: Consumers) -> bool:
    """Whether training leaves what lies beyond the range as it is, at a place where the range learns nothing.

    Args:
        node: a `fake_quant` node that does not observe; its input is a real tensor of any shape.
        consumers: the nodes that read each tensor of the graph.

    Returns:
        True after what scales up in training alone, as Dropout does, and before maxima and choices, whose result is
        quantized again: of what lies beyond its range the gradient goes where it goes in float.
    """
    return _comes_from_training_only(node.inputs[0]) or _only_result_counts(node, consumers)


def _comes_from_training_only(tensor: Tensor) -> bool:
    """Whether something that acts in training alone stands between the tensor and where its scale is said."""
    while tensor.node.op in SHARES_RANGE and tensor.node.inputs:
        if tensor.node.op in ("in_training", "dropped"):
            return True
        tensor = next((each for each in tensor.node.inputs if not is_fixed(each)), tensor.node.inputs[0])
    return False


def _only_result_counts(node: Node, consumers: Consumers) -> bool:
    """Whether maxima and choices alone read what a node gives, possibly moved."""
    readers = [reader for tensor in node.outputs for reader in consumers.get(tensor, [])]
    return bool(readers) and all(
        each.op in ONLY_RESULT or (each.op in SAME_SCALE and _only_result_counts(each, consumers)) for each in readers
    )


def own_end(node: Node) -> float | None:
    """The value at which the first operand of a maximum or minimum ends; None of another op, and where it has none."""
    if node.op not in ("maximum", "minimum"):
        return None
    before = node.inputs[0].node
    while before.op in MOVING:
        before = before.inputs[0].node
    if before.op == "clamp":
        return float(before.attrs["low" if node.op == "maximum" else "high"])
    return ENDS.get(before.op, {}).get(node.op)


def is_square(node: Node) -> bool:
    """Whether an op multiplies a tensor with itself, as the file has it: what acts in training alone is not there."""
    return node.op == "mul" and len({_at_inference(each) for each in node.inputs}) == 1


def _at_inference(tensor: Tensor) -> Tensor:
    while tensor.node.op in NOT_IN_FILE or (tensor.node.op == "fake_quant" and not observes(tensor.node)):
        tensor = tensor.node.inputs[0]
    return tensor
