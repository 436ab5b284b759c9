"""One colour a variant, the same in every picture and page (Okabe and Ito 2008: told apart by colour-blind eyes too).

QAT is blue everywhere, its model in training a lighter blue; PTQ is orange. Good and bad news are blue and vermilion.
"""

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
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#c9b900", "#999999")  # of no variant
COST = "#d55e00"  # what is lost
EQUAL = "#d6e6f2"  # nothing is lost


def colour_of(variant: str) -> str:
    return VARIANT_COLOURS.get(variant, OTHER)


def on_page(colour: str) -> str:
    """As a page has it: black is the colour of its text, which is light where the page is dark."""
    return "currentColor" if colour == VARIANT_COLOURS["float"] else colour
