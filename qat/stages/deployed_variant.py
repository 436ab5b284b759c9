"""Which file of a run is the one that its config asked for."""

from __future__ import annotations

from qat.results import RunResult, Variant
from qat.variants import QUANTIZERS


def select_deployed_variant(result: RunResult) -> tuple[str, Variant]:
    """The variant that `quant` names, with its name: qat_int8 of a QAT run that also left ptq_int8 and float.

    Args:
        result: of a finished run.

    Returns:
        (name, variant).

    Raises:
        KeyError: the result does not have it.
    """
    name = QUANTIZERS[str(result.config["quant"]["name"])].variant
    return name, result.variants[name]
