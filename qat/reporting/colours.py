"""One colour per variant, the same in every figure and page (Okabe and Ito 2008: told apart by colour-blind eyes too).

QAT is blue everywhere, its model in training pink, PTQ orange, float the colour of text: TensorBoard's own slate, cyan,
pink and amber, which no file can set, are of the same families. Good and bad news are blue and vermilion.
"""

from qat.variants import BY_VARIANT

VARIANT_COLOURS = {name: each.colour for name, each in BY_VARIANT.items()}
FAKE_QUANT = "#d6478f"  # a QAT model in training
OTHER = "#7f7f7f"
SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#c9b900", "#999999")  # of no variant
COST = "#d55e00"  # a loss
EQUAL = "#d6e6f2"  # no loss


def colour_of(variant: str) -> str:
    return FAKE_QUANT if variant == "fake_quant" else VARIANT_COLOURS.get(variant, OTHER)


def page_colour(colour: str) -> str:
    """The colour in CSS: black becomes the colour of the page's text, which is light where the page is dark."""
    return "currentColor" if colour == VARIANT_COLOURS["float"] else colour
