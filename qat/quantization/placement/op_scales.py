"""What the kernel of each op does with scales: keeps that of its input, prescribes one, or takes any.

Source: the TFLite 8-bit quantization specification, and the op definitions of the TFLite dialect (SameScales,
FixedOutputRange).
"""

from __future__ import annotations

from qat.quantization.ir.graph import Node
from qat.quantization.ir.operations import LINEAR, RELUS

NEVER_QUANTIZED = ("const", "variable", "fake_quant", "dropout_mask", "tap")
FUSES_RELU = {*LINEAR, "add", "sub", "mul"}
SAME_SCALE = {  # codes go through as they are: the result has the range of the first operand
    "batch_to_space",
    "broadcast_to",
    "custom_gradient",
    "depth_to_space",
    "dropped",
    "embedding",
    "gather",
    "gather_constant",
    "identity",
    "in_training",
    "max_pool",
    "mirror_pad",
    "pad",
    "reduce_max",
    "reduce_min",
    "reshape",
    "resize_nearest",
    "reverse",
    "space_to_batch",
    "space_to_depth",
    "split",
    "stop_gradient",
    "strided_slice",
    "tile",
    "top_k",
    "transpose",
    "unpack",
}
ROUNDS_AT_SAME_SCALE = {"avg_pool", "resize_bilinear"}  # the operand's range, and the kernel rounds to its codes
EXTREMES = {"maximum", "minimum"}
ONLY_RESULT = {"masked", "select", *EXTREMES}  # values of an operand beyond the range of the result never come out
ONE_RANGE_FOR_ALL = {"concat", "pack", *ONLY_RESULT}  # one range for all operands and the result
SHARES_RANGE = {*RELUS, *ROUNDS_AT_SAME_SCALE, *ONE_RANGE_FOR_ALL, *SAME_SCALE} - {"embedding"}
FIXED_RANGE = {  # (min, max) that the kernel prescribes for its result
    "l2_normalize": (-1.0, 127 / 128),
    "sigmoid": (0.0, 255 / 256),
    "softmax": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
    "log_softmax": (-255 * 16 / 256, 0.0),
}


def fixed_range(node: Node) -> tuple[float, float] | None:
    """The range that the kernel prescribes for its result; None if it takes any. `round` gets scale 1."""
    if node.op == "round" and "low" in node.attrs:
        return node.attrs["low"], node.attrs["low"] + 255.0
    return FIXED_RANGE.get(node.op)
