"""A scale and zero point, and the tensors that are on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from qat.quantization.ir.graph import Tensor


@dataclass(eq=False)
class Range:
    """One scale and zero point, shared by every tensor in it. `fixed` is what the kernel prescribes, if it does."""

    name: str
    layer: str
    fixed: tuple[float, float] | None = None
    saturates: bool = False  # the fixed range is a clamp of the model's own
    masked: bool = False  # holds scores, those hidden from a softmax at a large negative number
    tensors: list[Tensor] = field(default_factory=list)  # float tensors whose values it must cover
    merged_into: Range | None = None
    feeds_back: bool = False  # holds what an LSTM reads again at the next step: it must hold all of it
    entire: bool = False  # from the smallest to the largest value, however others are calibrated
    step: str = ""  # the place of its op in one step of an unrolled layer

    def root(self) -> Range:
        on = self
        while on.merged_into is not None:  # as often as an unrolled layer has steps
            on = on.merged_into
        return on


def merge(source: Range, target: Range) -> None:
    """One range of two: the target holds all that was on either."""
    source.merged_into = target
    target.tensors += source.tensors
