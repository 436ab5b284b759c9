"""Every quantizer in one table: how its file is made, what kind of file it is, and how it is shown. Stdlib only.

To add a quantizer, see "Adding a quantizer" in `docs/pages/extend.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantizer:
    """What `quant=NAME` stands for."""

    name: str  # quant.name, and conf/quant/NAME.yaml
    variant: str  # folder of its file in a run directory, and its key in results.json
    colour: str  # in every figure and page
    scheme: str = "int8"  # as `qat.export.convert` and `qat.diagnose expect=` have it, whatever the bits of weights
    precision: str = ""  # as model cards tag it; the scheme, where nothing else is said
    trained: bool = False  # quantization-aware training precedes the export
    stock: bool = False  # tfmot's own quantize_model, not ours
    needs_calibration: bool = False  # its file, or that of its baseline, is made with calibration samples
    weight_bits: int = 8
    baseline: str | None = None  # the quantizer whose file is made first, to compare with

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", self.precision or self.scheme)

    @property
    def is_ours(self) -> bool:
        """Whether its file comes from our own quantized model, and not from tfmot's or TensorFlow's calibrator."""
        return self.scheme == "int8" and not self.stock

    @property
    def method(self) -> str | None:
        """As model cards tag it; None for the float model."""
        if self.name == FLOAT:
            return None
        return "quantization-aware-training" if self.trained else "post-training-quantization"


FLOAT, PTQ, STOCK = "float", "ptq", "qat_tfmot"


def _after_training(scheme: str, colour: str, **more: Any) -> Quantizer:
    """A quantizer of the converter's own, whose option, folder and file are all called by its scheme."""
    return Quantizer(name=f"ptq_{scheme}", variant=f"ptq_{scheme}", colour=colour, scheme=scheme, **more)


# Colours: Okabe and Ito 2008, which colour-blind readers can distinguish. QAT is blue, PTQ orange.
QUANTIZERS: dict[str, Quantizer] = {
    each.name: each
    for each in (
        Quantizer(name=FLOAT, variant="float", colour="#000000", scheme="float32"),
        Quantizer(name=PTQ, variant="ptq_int8", colour="#e69f00", needs_calibration=True),
        Quantizer(name="qat", variant="qat_int8", colour="#0072b2", trained=True, needs_calibration=True, baseline=PTQ),
        Quantizer(
            name="qat_w4a8",
            variant="qat_w4a8",
            colour="#cc79a7",
            precision="int4",
            trained=True,
            needs_calibration=True,
            weight_bits=4,
            baseline=PTQ,
        ),
        Quantizer(
            name=STOCK,
            variant="qat_tfmot_int8",
            colour="#c9b900",  # their yellow, darker: it stands on white
            trained=True,
            stock=True,
            needs_calibration=True,
            baseline=PTQ,
        ),
        _after_training("dynamic_range", "#009e73", precision="int8-weights"),
        _after_training("float16", "#999999"),
        _after_training("int16x8", "#d55e00", needs_calibration=True),
    )
}

BY_VARIANT: dict[str, Quantizer] = {each.variant: each for each in QUANTIZERS.values()}
VARIANTS = tuple(BY_VARIANT)
FILE_KINDS = tuple(dict.fromkeys(each.scheme for each in QUANTIZERS.values()))
CALIBRATED_KINDS = tuple(dict.fromkeys(each.scheme for each in QUANTIZERS.values() if each.needs_calibration))
"""Kinds of files whose activations, and inputs, are integers."""
BASELINE = QUANTIZERS[PTQ].variant
STOCK_VARIANT = QUANTIZERS[STOCK].variant
MADE_BY_US = tuple(each.name for each in QUANTIZERS.values() if each.is_ours)
TRAINED_BY_US = tuple(name for name in MADE_BY_US if QUANTIZERS[name].trained)


def post_training_quantizer(name: str) -> Quantizer | None:
    """The quantizer whose file is made of the float model without training: itself, or the baseline of QAT.

    Args:
        name: a key of `QUANTIZERS`.

    Returns:
        None for the float model.
    """
    quantizer = QUANTIZERS[QUANTIZERS[name].baseline or name]
    return None if quantizer.name == FLOAT else quantizer


def as_options(names: tuple[str, ...]) -> str:
    """Quantizers as a sentence lists them.

    >>> as_options(("qat", "qat_w4a8"))
    'quant=qat and quant=qat_w4a8'
    """
    *rest, last = (f"quant={name}" for name in names)
    return f"{', '.join(rest)} and {last}" if rest else last


def is_trained(variant: str) -> bool:
    """Whether a variant comes out of quantization-aware training; False for one that is not in the table."""
    return variant in BY_VARIANT and BY_VARIANT[variant].trained


def without_calibration() -> tuple[Quantizer, ...]:
    """The quantizers whose files the converter makes of a float model alone, without data."""
    return tuple(q for q in QUANTIZERS.values() if not (q.needs_calibration or q.trained or q.name == FLOAT))


_SPELLINGS = {  # of precisions, as other tools have them
    **dict.fromkeys(("none", "off", "no", "fp32"), "float32"),
    **dict.fromkeys(("fp16", "half"), "float16"),
    **dict.fromkeys(("4bit", "4", "a8w4"), "int4"),
    **dict.fromkeys(("8bit", "8", "uint8", "w8a8", "full_integer", "static"), "int8"),
}


def quantizers_called(word: str) -> list[str]:
    """Names of the quantizers that a word describes: by variant or precision, else by scheme or name.

    >>> quantizers_called("int4"), quantizers_called("fp16"), quantizers_called("qat_int8")
    (['qat_w4a8'], ['ptq_float16'], ['qat'])
    >>> quantizers_called("dynamic")
    ['ptq_dynamic_range']
    """
    word = _SPELLINGS.get(word, word)
    exact = [name for name, each in QUANTIZERS.items() if word in (each.variant, each.precision)]
    exact = exact or [name for name, each in QUANTIZERS.items() if word == each.scheme]
    return exact or [name for name in QUANTIZERS if len(word) > 3 and word in name]
