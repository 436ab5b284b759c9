"""A scale and zero point, and the tensors that share it."""

from __future__ import annotations

from dataclasses import dataclass, field

from qat.quantization.ir.graph import Tensor

MinMax = tuple[float, float]


@dataclass(eq=False)
class Range:
    """One scale and zero point, shared by all of its tensors. `fixed`: the (min, max) that the kernel prescribes."""

    name: str
    layer: str
    fixed: MinMax | None = None
    saturates: bool = False  # the fixed range is that of a clamp in the model
    masked: bool = False  # holds scores before a softmax; masked ones are a large negative number
    tensors: list[Tensor] = field(default_factory=list)  # float tensors whose values it must hold
    merged_into: Range | None = None
    holds_recurrent_state: bool = False  # of the state that an LSTM reads at the next time step: nothing may saturate
    always_minmax: bool = False  # calibrated by min-max, whatever method is configured
    time_step_key: str = ""  # which op of one time step of an unrolled layer it belongs to

    def root(self) -> Range:
        """The range that this one was merged into, in the end."""
        quant_spec = self
        while quant_spec.merged_into is not None:  # as often as an unrolled layer has time steps
            quant_spec = quant_spec.merged_into
        return quant_spec


def merge(source: Range, target: Range) -> None:
    """Merge a range into another one, which gets its tensors.

    Args:
        source: a root; afterwards its `root()` is that of the target.
        target: another root.
    """
    source.merged_into = target
    target.tensors += source.tensors
