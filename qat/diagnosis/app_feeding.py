"""What the app wrote into the input tensors: the wrong codes, or the right codes of wrong numbers?"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.app_inputs import Carrier, judge_inputs
from qat.diagnosis.diagnosis import Cause, Finding
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.fixes import BY_NAME
from qat.diagnosis.normalisations import applicable, normalised, shaped_like
from qat.diagnosis.probes import feeding, preprocessing
from qat.diagnosis.relation import relate
from qat.diagnosis.running import codes_of, real_of
from qat.diagnosis.side import Side
from qat.diagnosis.yardstick import ENOUGH
from qat.tflite.graph import Tensor


def fed_in_keras_order(evidence: Evidence, side: Side) -> list[NDArray] | None:
    """The fed arrays, if they can be those of this file."""
    fed, tensors = evidence.fed, evidence.case.graph.inputs
    if fed is None:
        return None
    if len(fed) != len(tensors) or len(fed[0]) != evidence.case.count:
        side.notes.append(f"fed holds {len(fed)} arrays for {len(tensors)} inputs; it was not used")
        return None
    fitted = []
    for array, tensor in zip(fed, tensors, strict=True):
        if array.ndim == len(tensor.shape) + 1 and array.shape[1] == 1:
            array = array[:, 0]
        if array[0].size != int(np.prod(tensor.shape[1:])) and -1 not in tensor.shape_signature[1:]:
            side.notes.append(
                f"fed has shape {list(array.shape)}, the file takes {list(tensor.shape_signature)}; it was not used"
            )
            return None
        array = _stored_wider(array, tensor)
        shape = array.shape[1:] if -1 in tensor.shape_signature[1:] else tensor.shape[1:]
        fitted.append(array.reshape(len(array), *shape))
    return [fitted[place] for place in evidence.file.input_order]


def _stored_wider(array: NDArray, tensor: Tensor) -> NDArray:
    """Codes that were only kept in a wider type: whole numbers within the limits of the input's own."""
    params = None if tensor.is_float else tensor.quantization
    if params is None or array.dtype == np.dtype(tensor.dtype) or array.dtype.kind not in "iu":
        return array
    low, high = params.code_limits
    return array.astype(tensor.dtype) if array.size and low <= array.min() and array.max() <= high else array


def judge_fed(evidence: Evidence, side: Side, carrier: Carrier, fed: list[NDArray]) -> None:
    """Adds I causes; what was rightly quantized and wrongly preprocessed goes to `judge_inputs`."""
    if len(fed) > 1 and _inputs_exchanged(evidence, side, fed):
        return
    for place in range(len(fed)):
        _judge_one(evidence, side, carrier, fed, place)


def _judge_one(evidence: Evidence, side: Side, carrier: Carrier, fed: list[NDArray], place: int) -> None:
    tensor = evidence.file.inputs()[place]
    user = evidence.user_inputs
    meant = (user if user is not None else evidence.right_inputs)[place]
    if meant.shape != fed[place].shape:
        meant = evidence.right_inputs[place]
    given = _feeding(evidence, tensor, fed, place, meant)
    if feeding.is_right(given):
        return
    if (unfilled := feeding.only_first_filled(given)) is not None:
        side.causes.append(Cause.of(unfilled, "certain"))
        return
    finding = _fed_finding(evidence, given)
    if finding is not None:
        _settle(evidence, side, given, finding, fed, place)
    elif user is None:
        known = _known_normalisation(given)
        real = known if known is not None else real_of(fed[place], tensor)
        valid = None if known is not None else unsaturated(fed[place], tensor)
        judge_inputs(evidence, side, carrier, real, valid, "what was fed", place)


def _feeding(evidence: Evidence, tensor: Tensor, fed: list[NDArray], place: int, meant: NDArray) -> feeding.Feeding:
    outputs = evidence.case.graph.outputs[0]
    raw = evidence.case.inputs if len(fed) == 1 else None
    raw = None if raw is None else shaped_like(raw, meant)
    return feeding.Feeding(fed[place], tensor, meant, raw, None if outputs.is_float else outputs.quantization)


def _fed_finding(evidence: Evidence, given: feeding.Feeding) -> Finding | None:
    """The feeding fault, unless the codes are rather those of another preprocessing, rightly quantized."""
    found = next(feeding.probe(given), None)
    if evidence.user_inputs is not None or given.tensor.is_float or given.fed.dtype.kind == "f":
        return found
    if (found is None or not found.evidence.endswith("exactly")) and _known_normalisation(given) is not None:
        return None
    if found is None or found.id not in ("I04", "I03"):
        return found
    real = real_of(given.fed, given.tensor)
    relation = relate(real, given.meant, unsaturated(given.fed, given.tensor))
    inside = evidence.rescales_inside
    parts = [p.finding.id for p in preprocessing.parts_of(relation, real, given.meant, rescales_inside=inside)]
    usual = bool(parts) and parts[0] in ("P01", "P02", "P03", "P11") and "output's" not in found.evidence
    return None if usual and found.id == "I04" else found


def _known_normalisation(given: feeding.Feeding) -> NDArray | None:
    """The usual normalisation of the raw samples whose right codes are what was fed."""
    raw = given.raw
    if raw is None or raw.shape != given.fed.shape or given.tensor.is_float:
        return None
    for name in applicable(raw):
        codes = codes_of(normalised(raw[:64], name), given.tensor).astype(np.int64)
        if np.mean(codes == given.fed[:64]) > feeding.MATCH:
            return normalised(raw, name)
    return None


def unsaturated(fed: NDArray, tensor: Tensor) -> NDArray | None:
    """Which codes say where the real number was; None where all, or next to none, do."""
    if tensor.is_float or tensor.quantization is None or fed.dtype.kind == "f":
        return None
    low, high = tensor.quantization.code_limits
    free = (fed > low) & (fed < high)
    return free if free.mean() > 0.05 else None


def _settle(
    evidence: Evidence, side: Side, given: feeding.Feeding, finding: Finding, fed: list[NDArray], place: int
) -> None:
    if given.fed.dtype != np.dtype(given.tensor.dtype):
        side.causes.append(Cause.of(finding, "certain"))
        return
    right = [codes_of(r, t) for r, t in zip(evidence.right_inputs, evidence.file.inputs(), strict=True)]
    repaired = [codes_of(given.meant, given.tensor) if i == place else each for i, each in enumerate(fed)]
    outputs = [evidence.file.dequantized(evidence.file.codes(c)) for c in (right, fed, repaired)]
    drop = evidence.yardstick.drop(outputs[0], outputs[1])
    floor = evidence.yardstick.value(outputs[0])
    if drop.significant:
        share = evidence.yardstick.recovered(*outputs)
        side.causes.append(Cause.of(finding, "proved" if share >= ENOUGH else "certain", share))
    elif finding.id == "I05" or (drop.points <= 0.005 and floor > 0.5):
        side.note(finding)
    else:
        side.causes.append(Cause.of(finding, "certain"))


def _inputs_exchanged(evidence: Evidence, side: Side, fed: list[NDArray]) -> bool:
    """C09: what was written into one input belongs to another. True where the feeding is explained."""
    tensors, right = evidence.file.inputs(), evidence.right_inputs

    def near(codes: NDArray, real: NDArray, tensor: Tensor) -> bool:
        if codes.shape != real.shape:
            return False
        wanted = real_of(codes_of(real, tensor), tensor)
        return bool(np.mean(np.abs(real_of(codes, tensor) - wanted) <= 1e-3 + 2 * _step(tensor)) > 0.98)

    places = range(len(fed))
    if all(near(fed[i], right[i], tensors[i]) for i in places):
        return True
    for order in itertools.permutations(places):
        if all(near(fed[i], right[order[i]], tensors[i]) for i in places):
            finding = Finding(
                "C09", f"inputs were written in the order {list(order)}: each got another's data",
                f"bind inputs by name, {BY_NAME}", 0.95, certain=True,
            )  # fmt: skip
            side.causes.append(Cause.of(finding, "certain"))
            return True
    return False


def _step(tensor: Tensor) -> float:
    return 0.0 if tensor.is_float or tensor.quantization is None else float(tensor.quantization.scale[0])
