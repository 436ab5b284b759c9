"""Which file of a run is the one that its config asked for."""

from __future__ import annotations

from qat.config import STOCK, STOCK_VARIANT
from qat.results import RunResult, Variant

VARIANT_OF = {"ptq": "ptq_int8", "qat": "qat_int8", STOCK: STOCK_VARIANT}  # quant.name -> variant, where they differ


def deployed_variant(result: RunResult) -> tuple[str, Variant]:
    """The variant that `quant` names, with its name: qat_int8 of a QAT run that also left ptq_int8 and float."""
    asked = str(result.config["quant"]["name"])
    name = VARIANT_OF.get(asked, asked)
    return name, result.variants[name]
