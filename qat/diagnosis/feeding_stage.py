"""What the app wrote into the input tensors: the wrong codes, or the right codes of wrong numbers?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.catalogue import BY_NAME, HARMLESS_WITHOUT_LOSS
from qat.diagnosis.engine import Findings, Hypothesis, Loss, repair_state
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.hypotheses import feeding, preprocessing
from qat.diagnosis.input_stage import Run, diagnose_inputs
from qat.diagnosis.normalisations import list_normalisations, normalise, reshape_like
from qat.diagnosis.relation import relate
from qat.diagnosis.runs import to_codes, to_real
from qat.diagnosis.tensor_order import find_order
from qat.tflite.graph import Tensor

NEAR = 0.98  # share of the values of an input that must be another's, within two steps
NO_POINTS, FAIR = 0.005, 0.5  # a drop that is none, of a score that would show one
FREE, MANY_CODES = 0.05, 32  # share of codes that are not saturated, below which they say nothing unless so many differ
ZERO_KEPT = 0.02  # of the spread of inputs, by which the real number of the zero point may move
RANGES = ("P01", "P02", "P03", "P11")  # usual mistakes that look like another scale


def order_fed_arrays(evidence: Evidence, findings: Findings) -> list[NDArray] | None:
    """The fed arrays, if they can be those of this file; else a note says why not.

    Args:
        evidence: what is known of the case; `fed` may be among it.
        findings: the result so far; it gets the note.

    Returns:
        One array [N, ...] per input, in Keras order and in the shape of the input; None where nothing usable was fed.
    """
    fed, tensors = evidence.fed, evidence.case.graph.inputs
    if fed is None:
        return None
    if len(fed) != len(tensors) or len(fed[0]) != evidence.case.count:
        findings.notes.append(f"fed holds {len(fed)} arrays for {len(tensors)} inputs; it was not used")
        return None
    arrays = []
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
        arrays.append(array.reshape(len(array), *(array.shape[1:] if is_open else tensor.shape[1:])))
    return [arrays[index] for index in evidence.file.input_order]


def _narrowed(array: NDArray, tensor: Tensor) -> NDArray:
    """Codes that were only kept in a wider type: integers within the limits of the input's own."""
    params = tensor.quantization
    if params is None or array.dtype == np.dtype(tensor.dtype) or array.dtype.kind not in "iu":
        return array
    low, high = params.code_limits
    return array.astype(tensor.dtype) if array.size and low <= array.min() and array.max() <= high else array


def diagnose_fed(evidence: Evidence, findings: Findings, run: Run, fed: list[NDArray]) -> None:
    """Adds I causes; what was rightly quantized and wrongly preprocessed goes to the stage of the inputs.

    Args:
        evidence: what is known of the case, the right inputs [N, ...] among it.
        findings: the result so far; it gets causes and notes.
        run: function that inputs are scored by: real arrays [N, ...] in Keras order to real outputs [N, ...].
        fed: one array [N, ...] per input in Keras order, as `order_fed_arrays` returns it.
    """
    if len(fed) > 1 and _inputs_exchanged(evidence, findings, fed):
        return
    for index in range(len(fed)):
        _diagnose_one(evidence, findings, run, fed, index)


def _diagnose_one(evidence: Evidence, findings: Findings, run: Run, fed: list[NDArray], index: int) -> None:
    tensor = evidence.file.inputs()[index]
    user = evidence.user_inputs
    intended = (user if user is not None else evidence.right_inputs)[index]
    if intended.shape != fed[index].shape:
        intended = evidence.right_inputs[index]
    fed_input = _feeding(evidence, tensor, fed, index, intended)
    if feeding.is_right(fed_input):
        return
    if (unfilled := feeding.find_unfilled_batch(fed_input)) is not None:
        findings.add(unfilled)
    elif (hypothesis := _find_feeding_fault(evidence, fed_input)) is not None:
        _measure(evidence, findings, fed_input, hypothesis, fed, index)
    elif user is None:
        known = _known_normalisation(fed_input)
        real = known if known is not None else to_real(fed[index], tensor)
        valid = None if known is not None else find_unsaturated(fed[index], tensor)
        diagnose_inputs(evidence, findings, run, real, valid, "what was fed", index)


def _feeding(evidence: Evidence, tensor: Tensor, fed: list[NDArray], index: int, intended: NDArray) -> feeding.FedInput:
    output = evidence.case.graph.outputs[0]
    raw = evidence.case.inputs if len(fed) == 1 else None
    raw = None if raw is None else reshape_like(raw, intended)
    return feeding.FedInput(fed[index], tensor, intended, raw, output.quantization)


def _find_feeding_fault(evidence: Evidence, fed_input: feeding.FedInput) -> Hypothesis | None:
    """The feeding fault, unless the codes are rather those of another preprocessing, rightly quantized."""
    exact = feeding.reproduce_codes(fed_input)
    if exact is not None:
        return exact
    if evidence.user_inputs is not None or fed_input.tensor.is_float or fed_input.fed.dtype.kind == "f":
        return feeding.fit_codes(fed_input)
    if _known_normalisation(fed_input) is not None:
        return None
    hypothesis = feeding.fit_codes(fed_input)
    if hypothesis is None or hypothesis.id != "I04":
        return hypothesis
    real = to_real(fed_input.fed, fed_input.tensor)
    relation = relate(real, fed_input.intended, find_unsaturated(fed_input.fed, fed_input.tensor))
    inside = evidence.rescales_inside
    parts = preprocessing.list_parts(relation, real, fed_input.intended, rescales_inside=inside)
    first = next(parts, None)
    keeps_zero = float(np.abs(relation.offset).max()) < ZERO_KEPT * relation.unit  # its zero point is the file's
    return None if first is not None and (first.id in RANGES or keeps_zero) else hypothesis


def _known_normalisation(fed_input: feeding.FedInput) -> NDArray | None:
    """The usual normalisation of the raw samples whose right codes, or their neighbours, are what was fed."""
    raw = fed_input.raw
    if raw is None or raw.shape != fed_input.fed.shape or fed_input.tensor.is_float:
        return None
    few = slice(0, feeding.SAMPLES)
    for name in list_normalisations(raw):
        codes = to_codes(normalise(raw[few], name), fed_input.tensor).astype(np.int64)
        if np.mean(np.abs(codes - fed_input.fed[few]) <= 1) > feeding.RIGHT:
            return normalise(raw, name)
    return None


def find_unsaturated(fed: NDArray, tensor: Tensor) -> NDArray | None:
    """Which codes say where the real number was.

    Args:
        fed: [N, ...], codes of the input's dtype, or float.
        tensor: the input tensor, with its scale and zero point.

    Returns:
        bool [N, ...], False at the ends of the code range; None where all codes say it, or next to none do.
    """
    if tensor.quantization is None or fed.dtype.kind == "f":
        return None
    low, high = tensor.quantization.code_limits
    free = (fed > low) & (fed < high)
    return free if free.mean() > FREE or len(np.unique(fed[free])) >= MANY_CODES else None


def _measure(
    evidence: Evidence,
    findings: Findings,
    fed_input: feeding.FedInput,
    hypothesis: Hypothesis,
    fed: list[NDArray],
    index: int,
) -> None:
    """Adds it as a cause, with what the right codes of this input bring back, or as a note where it costs nothing."""
    if fed_input.fed.dtype != np.dtype(fed_input.tensor.dtype):
        findings.add(hypothesis)
        return

    def run(codes: list[NDArray]) -> list[NDArray]:
        return evidence.file.dequantized(evidence.file.codes(codes))

    def repair(codes: list[NDArray]) -> list[NDArray]:
        return [
            to_codes(fed_input.intended, fed_input.tensor) if at == index else each for at, each in enumerate(codes)
        ]

    right = evidence.file.quantized(evidence.right_inputs)
    hypothesis = replace(hypothesis, repair=repair)
    loss = Loss(evidence.score, run(right), run(fed), fed, run)
    free = loss.drop.points <= NO_POINTS and evidence.score.value(loss.target) > FAIR
    if loss.significant:
        findings.add(hypothesis, loss.recovered(repair_state(fed, [hypothesis])))
    elif hypothesis.id in HARMLESS_WITHOUT_LOSS or free:
        findings.note(hypothesis)
    else:
        findings.add(hypothesis)


def _inputs_exchanged(evidence: Evidence, findings: Findings, fed: list[NDArray]) -> bool:
    """C09: what was written into one input belongs to another. True where the feeding is explained."""
    tensors, right = evidence.file.inputs(), evidence.right_inputs

    def is_near(index: int, other: int) -> bool:
        codes, tensor = fed[index], tensors[index]
        if codes.shape != right[other].shape:
            return False
        expected = to_real(to_codes(right[other], tensor), tensor)
        scale = 0.0 if tensor.quantization is None else float(tensor.quantization.scale[0])
        return bool(np.mean(np.abs(to_real(codes, tensor) - expected) <= 1e-3 + 2 * scale) > NEAR)

    order = find_order(len(fed), is_near)
    if order is not None and order != sorted(order):
        words = f"inputs were written in the order {order}: each got another's data"
        findings.add(Hypothesis("C09", words, f"bind inputs by name, {BY_NAME}", 0.95, certain=True))
    return order is not None
