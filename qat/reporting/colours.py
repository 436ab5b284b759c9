"""One colour a variant, the same in every picture (Okabe and Ito 2008: told apart by colour-blind eyes too)."""

VARIANT_COLOURS = {
    "float": "#000000",
    "fake_quant": "#56b4e9",
    "qat_int8": "#0072b2",
    "ptq_int8": "#e69f00",
    "qat_w4a8": "#cc79a7",
    "qat_tfmot_int8": "#c9b900",  # their yellow, darker: it stands on white
    "ptq_dynamic_range": "#009e73",
    "ptq_float16": "#999999",
    "ptq_int16x8": "#d55e00",
}
OTHER = "#7f7f7f"


def colour_of(variant: str) -> str:
    return VARIANT_COLOURS.get(variant, OTHER)
