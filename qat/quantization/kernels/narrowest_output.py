"""The narrowest range of a result that its kernel takes: LiteRT's ends the process below, or XNNPACK leaves the op."""

from __future__ import annotations

from typing import TypeVar

from qat.quantization.ir.operations import LINEAR

Number = TypeVar("Number")  # a float, or a tensor

SHARE_OF_REACH = 1e-4  # share of what operands could make: XNNPACK multiplies by no more than 256
STEP = 2.02 / 255  # an operand's scale as a share of its size, if it has both signs; with a margin for float32
OF_SQUARES = 2.0**-17  # share of the square of the largest operand: below, LiteRT ends the process
LARGEST_RATIO = 2.0**19  # ratio of the scales of operand and sum: from there on, LiteRT's kernel ends the process
LARGEST_RATIO_OF_SQUARES = 2.0**12  # the same, of the squared step of an operand and that of a squared difference
DIFFERENCES = ("add", "sub", "corrected")  # in steps of an operand at best
SUMS = (*DIFFERENCES, "sum", "mean", "cumsum", "requantize", "concat", "pack")
PRODUCTS = ("mul", "batch_matmul", *LINEAR)


def narrowest_span(op: str, smallest: Number, largest: Number, product: Number) -> Number:
    """How wide the range of an op's result has to be at least.

    Args:
        op: name of the op.
        smallest: the least of the operands' largest absolute values, a real number or a scalar tensor.
        largest: the largest of these.
        product: of all of these, the kernel's among them.

    Returns:
        Width in the unit of the result, 0 if the kernel takes any. For a sum it is the scale of the coarser operand:
        XNNPACK takes none with a finer one, and LiteRT's own kernel has then given other numbers (a mask of -1e4 next
        to numbers of 5: -12 dB), though a finer one would be of use where that operand stands on one code for all that
        lives. A square of differences is at best as fine as a step of both.
    """
    if op in DIFFERENCES:
        return STEP * largest
    if op == "squared_difference":
        return (STEP * smallest) ** 2 + OF_SQUARES * largest**2
    if op in SUMS:
        return SHARE_OF_REACH * largest
    return SHARE_OF_REACH * product if op in PRODUCTS else 0.0 * largest
