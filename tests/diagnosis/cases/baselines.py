"""Simpler ways to answer, for comparison: a checklist in a fixed order, and the layer with the largest error.

Each names one cause or nothing (""), from the same arguments as `diagnose`; neither applies a repair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from qat.diagnosis.case import Case, check_case
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.file_facts import FileFacts
from qat.diagnosis.hypotheses import conversion, training
from qat.diagnosis.hypotheses.origin import measure_cosines
from qat.diagnosis.hypotheses.ranges import pair_tensors
from qat.diagnosis.runs import Conversion
from qat.errors import QatError
from qat.metrics import sqnr_db
from qat.tflite import read
from qat.tflite.runtime.pool import Runtime

NAMES = (
    "keras_model", "inputs", "labels", "preprocess", "user_preprocess", "user_run", "fed", "outputs", "calibration",
    "expect",
)  # fmt: skip
POOR_DB = 10.0


def _evidence(content: bytes, given: dict[str, Any]) -> Evidence:
    return Evidence(check_case(Case(content, *(given.get(name) for name in NAMES))))


# ---- checklist


def checklist(content: bytes, given: dict[str, Any]) -> str:
    """The first test that fires, in the order in which guides list them."""
    try:
        evidence = _evidence(content, given)
        return next((id for id, fires in CHECKS.items() if fires(evidence)), "")
    except QatError:
        return ""


def _float_though_int8(evidence: Evidence) -> bool:
    return evidence.facts.scheme == "float32" and evidence.case.expect == "int8"


def _input_range_is_not_the_datas(evidence: Evidence) -> bool:
    have, want = evidence.facts.input_range, evidence.right_limits
    return bool(have and want) and not 0.5 < (have[1] - have[0]) / max(want[1] - want[0], 1e-9) < 2


def _app_range_is_another(evidence: Evidence) -> bool:
    user, want = evidence.user_inputs, evidence.right_limits
    return user is not None and not 0.7 < float(np.ptp(user[0])) / max(want[1] - want[0], 1e-9) < 1.4


def _app_channels_are_exchanged(evidence: Evidence) -> bool:
    user, right = evidence.user_inputs, evidence.right_inputs
    return user is not None and user[0].shape == right[0].shape and np.allclose(user[0], right[0][..., ::-1])


def _fed_takes_few_values(evidence: Evidence) -> bool:
    return evidence.fed is not None and evidence.fed[0].dtype.kind in "iu" and len(np.unique(evidence.fed[0])) < 4


def _outputs_are_large(evidence: Evidence) -> bool:
    recorded = evidence.recorded
    return recorded is not None and recorded[0].ndim == 2 and float(np.abs(recorded[0]).max()) > 2


def _kernels_differ(evidence: Evidence) -> bool:
    found = measure_cosines(evidence.facts, evidence.keras) if evidence.keras is not None else []
    return any(cosine < 0.9 for _, cosine in found)


CHECKS: dict[str, Callable[[Evidence], bool]] = {
    "C01": _float_though_int8,
    "C03": lambda evidence: evidence.facts.scheme == "dynamic_range",
    "Q01": _input_range_is_not_the_datas,
    "P01": _app_range_is_another,
    "P06": _app_channels_are_exchanged,
    "I01": _fed_takes_few_values,
    "O01": _outputs_are_large,
    "C06": lambda evidence: bool(conversion.per_tensor(evidence.facts)),
    "T01": lambda evidence: next(training.find_unsettled_ranges(evidence.facts), None) is not None,
    "C07": _kernels_differ,
}


# ---- largest error


def largest_error(content: bytes, given: dict[str, Any]) -> str:
    """Compares every tensor with that of a float file on right inputs; blames what made the worst one."""
    try:
        evidence = _evidence(content, given)
        return _worst_tensor(evidence) if evidence.keras is not None and evidence.right_inputs is not None else ""
    except QatError:
        return ""


def _worst_tensor(evidence: Evidence) -> str:
    reference = evidence.content(Conversion(scheme="float32"))
    if reference is None or evidence.facts.scheme != "int8":
        return ""
    graph = read(reference)
    few = [values[:32] for values in evidence.right_inputs]
    real = Runtime(reference, graph, keep_tensors=True).tensors(few)
    own = Runtime(evidence.case.content, evidence.case.graph, keep_tensors=True)
    fed = evidence.file.quantized(few)
    codes = own.tensors([fed[evidence.file.input_order.index(i)] for i in range(len(fed))])
    worst, db = None, POOR_DB
    for first, second in pair_tensors(evidence.facts, FileFacts(graph), evidence.file.input_order):
        params = evidence.case.graph.tensors[first].quantization
        if params is None or first not in codes or second not in real or codes[first].shape != real[second].shape:
            continue
        found = sqnr_db(real[second], (codes[first].astype(np.float32) - params.zero_point[0]) * params.scale[0])
        worst, db = (first, found) if found < db else (worst, db)
    if worst is None:
        return ""
    if worst in {tensor.index for tensor in evidence.case.graph.inputs}:
        return "Q01"
    op = evidence.case.graph.main.producers.get(worst)
    weight = None if op is None else evidence.facts.weight(op)
    return "C06" if weight is not None and len(weight.scales) == 1 else "M01"
