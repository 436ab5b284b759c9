"""How a tensor gets its scale and zero point, in torchao's four kinds of quantization specs.

Source: torchao/quantization/pt2e/quantizer/quantizer.py (QuantizationSpec, FixedQParamsQuantizationSpec,
SharedQuantizationSpec, DerivedQuantizationSpec).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qat.quantization.ir.graph import Tensor

MinMax = tuple[float, float]


@dataclass(frozen=True)
class Own:
    """Min and max come from calibration (torchao: QuantizationSpec)."""

    minmax: bool = False  # by that method, whatever is configured
    bounds: MinMax | None = None  # bounds of a clamp in the model, which saturates even where nothing is rounded


@dataclass(frozen=True)
class Fixed:
    """Min and max are what a kernel prescribes (torchao: FixedQParamsQuantizationSpec)."""

    min_max: MinMax


@dataclass(frozen=True)
class Shared:
    """Scale and zero point are those of another spec (torchao: SharedQuantizationSpec)."""

    spec: QuantSpec


@dataclass(frozen=True)
class Derived:
    """As `Shared`, of values that are made from the other's: they move no range (torchao: DerivedQuantizationSpec)."""

    spec: QuantSpec


@dataclass(eq=False)
class QuantSpec:
    """One scale and zero point, for all of its tensors and those of the specs that share it."""

    name: str
    layer: str
    kind: Own | Fixed | Shared | Derived = field(default_factory=Own)
    masked: bool = False  # holds scores before a softmax; masked ones are a large negative number
    tensors: list[Tensor] = field(default_factory=list)  # float tensors whose values it must hold
    holds_recurrent_state: bool = False  # an LSTM reads it at the next time step: nothing may saturate
    time_step_key: str = ""  # which op of one time step of an unrolled layer it belongs to

    @property
    def fixed(self) -> MinMax | None:
        """(min, max) where they are fixed."""
        return self.kind.min_max if isinstance(self.kind, Fixed) else None

    @property
    def bounds(self) -> MinMax | None:
        """The least and the largest number that a clamp of the model lets through; min and max lie between them."""
        return self.kind.bounds if isinstance(self.kind, Own) else None

    @property
    def is_bound(self) -> bool:
        """Whether a kernel or a clamp has a say in min and max."""
        return self.fixed is not None or self.bounds is not None

    def root(self) -> QuantSpec:
        """The spec whose scale and zero point this one has, in the end."""
        quant_spec = self
        while isinstance(quant_spec.kind, (Shared, Derived)):  # as often as an unrolled layer has time steps
            quant_spec = quant_spec.kind.spec
        return quant_spec

    def derive(self) -> QuantSpec:
        """A spec for values that are made from those of this one, on its scale."""
        return QuantSpec(self.name, self.layer, Derived(self))


def merge(source: QuantSpec, target: QuantSpec) -> None:
    """Let a spec share another one, which gets its tensors.

    Args:
        source: a spec that is its own root; afterwards its `root()` is that of the target.
        target: another spec that is its own root; it gets the tensors of the source.
    """
    source.kind = Shared(target)
    target.tensors += source.tensors
