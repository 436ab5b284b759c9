"""What the app wrote into the input tensors: the wrong codes, or the right codes of wrong numbers?"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.engine import Findings, Hypothesis, Loss, repaired
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.fixes import BY_NAME
from qat.diagnosis.hypotheses import feeding, preprocessing
from qat.diagnosis.input_stage import Run, diagnose_inputs
from qat.diagnosis.normalisations import applicable, normalised, shaped_like
from qat.diagnosis.relation import relate
from qat.diagnosis.runs import codes_of, real_of
from qat.tflite.graph import Tensor

NEAR = 0.98  # share of the values of an input that must be another's, within two steps
NO_POINTS, FAIR = 0.005, 0.5  # a drop that is none, of a score that would show one
FREE = 0.05  # share of codes that are not saturated, below which they say nothing of it
RANGES = ("P01", "P02", "P03", "P11")  # usual mistakes that look like another scale


def fed_in_keras_order(evidence: Evidence, findings: Findings) -> list[NDArray] | None:
    """The fed arrays, if they can be those of this file."""
    fed, tensors = evidence.fed, evidence.case.graph.inputs
    if fed is None:
        return None
    if len(fed) != len(tensors) or len(fed[0]) != evidence.case.count:
        findings.notes.append(f"fed holds {len(fed)} arrays for {len(tensors)} inputs; it was not used")
        return None
    fitted = []
    for array, tensor in zip(fed, tensors, strict=True):
        if array.ndim == len(tensor.shape) + 1 and array.shape[1] == 1:
            array = array[:, 0]
        is_open = -1 in tensor.shape_signature[1:]
        if array[0].size != int(np.prod(tensor.shape[1:])) and not is_open:
            findings.notes.append(
                f"fed has shape {list(array.shape)}, the file takes {list(tensor.shape_signature)}; it was not used"
            )
            return None
        array = _narrowed(array, tensor)
        fitted.append(array.reshape(len(array), *(array.shape[1:] if is_open else tensor.shape[1:])))
    return [fitted[index] for index in evidence.file.input_order]


def _narrowed(array: NDArray, tensor: Tensor) -> NDArray:
    """Codes that were only kept in a wider type: integers within the limits of the input's own."""
    params = None if tensor.is_float else tensor.quantization
    if params is None or array.dtype == np.dtype(tensor.dtype) or array.dtype.kind not in "iu":
        return array
    low, high = params.code_limits
    return array.astype(tensor.dtype) if array.size and low <= array.min() and array.max() <= high else array


def diagnose_fed(evidence: Evidence, findings: Findings, run: Run, fed: list[NDArray]) -> None:
    """Adds I causes; what was rightly quantized and wrongly preprocessed goes to the stage of the inputs."""
    if len(fed) > 1 and _inputs_exchanged(evidence, findings, fed):
        return
    for index in range(len(fed)):
        _diagnose_one(evidence, findings, run, fed, index)


def _diagnose_one(evidence: Evidence, findings: Findings, run: Run, fed: list[NDArray], index: int) -> None:
    tensor = evidence.file.inputs()[index]
    user = evidence.user_inputs
    meant = (user if user is not None else evidence.right_inputs)[index]
    if meant.shape != fed[index].shape:
        meant = evidence.right_inputs[index]
    given = _feeding(evidence, tensor, fed, index, meant)
    if feeding.is_right(given):
        return
    if (unfilled := feeding.only_first_filled(given)) is not None:
        findings.add(unfilled)
    elif (supposed := _supposed(evidence, given)) is not None:
        _measure(evidence, findings, given, supposed, fed, index)
    elif user is None:
        known = _known_normalisation(given)
        real = known if known is not None else real_of(fed[index], tensor)
        valid = None if known is not None else unsaturated(fed[index], tensor)
        diagnose_inputs(evidence, findings, run, real, valid, "what was fed", index)


def _feeding(evidence: Evidence, tensor: Tensor, fed: list[NDArray], index: int, meant: NDArray) -> feeding.Feeding:
    output = evidence.case.graph.outputs[0]
    raw = evidence.case.inputs if len(fed) == 1 else None
    raw = None if raw is None else shaped_like(raw, meant)
    return feeding.Feeding(fed[index], tensor, meant, raw, None if output.is_float else output.quantization)


def _supposed(evidence: Evidence, given: feeding.Feeding) -> Hypothesis | None:
    """The feeding fault, unless the codes are rather those of another preprocessing, rightly quantized."""
    exact = feeding.exactly(given)
    if exact is not None:
        return exact
    if evidence.user_inputs is not None or given.tensor.is_float or given.fed.dtype.kind == "f":
        return feeding.nearly(given)
    if _known_normalisation(given) is not None:
        return None
    supposed = feeding.nearly(given)
    if supposed is None or supposed.id != "I04":
        return supposed
    real = real_of(given.fed, given.tensor)
    relation = relate(real, given.meant, unsaturated(given.fed, given.tensor))
    inside = evidence.rescales_inside
    parts = preprocessing.parts_of(relation, real, given.meant, rescales_inside=inside)
    return None if (first := next(parts, None)) is not None and first.id in RANGES else supposed


def _known_normalisation(given: feeding.Feeding) -> NDArray | None:
    """The usual normalisation of the raw samples whose right codes, or their neighbours, are what was fed."""
    raw = given.raw
    if raw is None or raw.shape != given.fed.shape or given.tensor.is_float:
        return None
    few = slice(0, feeding.SAMPLES)
    for name in applicable(raw):
        codes = codes_of(normalised(raw[few], name), given.tensor).astype(np.int64)
        if np.mean(np.abs(codes - given.fed[few]) <= 1) > feeding.RIGHT:
            return normalised(raw, name)
    return None


def unsaturated(fed: NDArray, tensor: Tensor) -> NDArray | None:
    """Which codes say where the real number was; None where all, or next to none, do."""
    if tensor.is_float or tensor.quantization is None or fed.dtype.kind == "f":
        return None
    low, high = tensor.quantization.code_limits
    free = (fed > low) & (fed < high)
    return free if free.mean() > FREE else None


def _measure(
    evidence: Evidence, findings: Findings, given: feeding.Feeding, supposed: Hypothesis, fed: list[NDArray], index: int
) -> None:
    """Adds it as a cause, with what the right codes of this input bring back, or as a note where it costs nothing."""
    if given.fed.dtype != np.dtype(given.tensor.dtype):
        findings.add(supposed)
        return

    def run(codes: list[NDArray]) -> list[NDArray]:
        return evidence.file.dequantized(evidence.file.codes(codes))

    def mended(codes: list[NDArray]) -> list[NDArray]:
        return [codes_of(given.meant, given.tensor) if at == index else each for at, each in enumerate(codes)]

    right = [codes_of(r, t) for r, t in zip(evidence.right_inputs, evidence.file.inputs(), strict=True)]
    supposed = replace(supposed, repair=mended)
    loss = Loss(evidence.score, run(right), run(fed), fed, run)
    free = loss.drop.points <= NO_POINTS and evidence.score.value(loss.target) > FAIR
    if loss.significant:
        findings.add(supposed, loss.recovered(repaired(fed, [supposed])))
    elif supposed.id == "I05" or free:
        findings.note(supposed)
    else:
        findings.add(supposed)


def _inputs_exchanged(evidence: Evidence, findings: Findings, fed: list[NDArray]) -> bool:
    """C09: what was written into one input belongs to another. True where the feeding is explained."""
    tensors, right = evidence.file.inputs(), evidence.right_inputs

    def near(codes: NDArray, real: NDArray, tensor: Tensor) -> bool:
        if codes.shape != real.shape:
            return False
        wanted = real_of(codes_of(real, tensor), tensor)
        return bool(np.mean(np.abs(real_of(codes, tensor) - wanted) <= 1e-3 + 2 * _scale(tensor)) > NEAR)

    indices = range(len(fed))
    if all(near(fed[i], right[i], tensors[i]) for i in indices):
        return True
    for order in itertools.permutations(indices):
        if all(near(fed[i], right[order[i]], tensors[i]) for i in indices):
            words = f"inputs were written in the order {list(order)}: each got another's data"
            findings.add(Hypothesis("C09", words, f"bind inputs by name, {BY_NAME}", 0.95, certain=True))
            return True
    return False


def _scale(tensor: Tensor) -> float:
    return 0.0 if tensor.is_float or tensor.quantization is None else float(tensor.quantization.scale[0])
