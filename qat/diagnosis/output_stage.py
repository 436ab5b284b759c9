"""What the app made of the outputs: compared with what the file gives for just the codes that were fed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.catalogue import BY_NAME, HARMLESS_WITHOUT_LOSS, YIELDS
from qat.diagnosis.engine import Findings, Hypothesis
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.hypotheses import outputs
from qat.diagnosis.input_stage import diagnose_inputs
from qat.diagnosis.normalisations import list_normalisations, normalise, reshape_like
from qat.diagnosis.relation import AS_IS, CHANNELS, SPATIAL
from qat.diagnosis.runs import call_user, record_calls, to_codes, to_real
from qat.diagnosis.score import Outputs
from qat.diagnosis.tensor_order import find_order
from qat.tflite.graph import Tensor

STATE_SAMPLES, FEWEST = 48, 4  # run again in the other order; of so many at least
DISTINCT_ROWS = 3
CHANGED, CHANGED_ROWS = 0.02, 0.3  # of the results' range, by which so many of the rows must change
ONE_LABEL = 0.97  # share of labels that are one and the same
NEAREST = 2  # of the other inputs, that every way of rounding is tried with
BELOW, ABOVE = -0.01, 1.01  # what no probability is


def diagnose_recorded(evidence: Evidence, findings: Findings, fed: list[NDArray] | None) -> None:
    """Adds O, C09, C10, C13 and E01 causes; with nothing known about the inputs, searches those that explain it.

    Args:
        evidence: what is known of a case with recorded outputs.
        findings: the result so far; it gets causes and notes, or a text in `unsure` for a loss that nothing explains.
        fed: one array [N, ...] per input in Keras order; None where it is not known.
    """
    tensors = [evidence.case.graph.outputs[i] for i in evidence.file.output_order]
    recorded = evidence.recorded
    codes, expected, hypotheses = _nearest(evidence, findings, fed, tensors)
    if codes is None:  # outputs exchanged: said already
        return
    known = fed is not None or evidence.user_inputs is not None
    unexplained = not known and not matches_file(recorded[0], expected[0], tensors[0])
    stale_or_none = all(each.id in YIELDS for each in hypotheses)
    if unexplained and stale_or_none and (words := _one_label(recorded[0], expected[0])):
        findings.unsure = words
        return
    if unexplained and all(each.id in YIELDS or not each.certain for each in hypotheses):
        if _search_inputs(evidence, findings, recorded[0], tensors[0]):
            return
        if not hypotheses:
            _say_unexplained(evidence, findings, recorded[0], expected, tensors[0])
            return
    comparable = _comparable(recorded, expected, tensors)
    drop = evidence.score.drop(expected, comparable) if comparable is not None else None
    lossy = drop is not None and drop.significant
    if not hypotheses and fed is not None:
        hypotheses = list(outputs.find_other_runtime(recorded[0], codes[0], tensors[0]))
    for each in hypotheses:
        if each.harmless or (each.id in HARMLESS_WITHOUT_LOSS and not lossy):
            findings.note(each)
        else:  # our own run of the file, on the very inputs, has the loss not
            findings.add(each, 1.0 if lossy and each.certain else None)
    if not hypotheses and drop is not None and lossy:
        findings.unsure = (
            f"for the inputs that were fed the file gives {drop.reference:.1%}, the app {drop.value:.1%}, and no known "
            "mistake turns one into the other"
            if evidence.score.unit != "dB"
            else "the app's outputs are not the file's, and no known mistake explains it"
        )
    _logits_note(evidence, findings, recorded[0])


def _nearest(
    evidence: Evidence, findings: Findings, fed: list[NDArray] | None, tensors: list[Tensor]
) -> tuple[Outputs | None, Outputs, list[Hypothesis]]:
    """Codes and real outputs that the app should have seen, and what it made of them.

    Where the fed codes are not known, each usual way of rounding is tried: half a code in the input may be several in
    the output.
    """
    recorded = evidence.recorded
    tried = []
    for codes in _codes_behind(evidence, fed):
        expected = evidence.file.dequantized(codes)
        several = len(recorded) > 1 and len(recorded) == len(expected)
        if several and _outputs_exchanged(evidence, findings, recorded, expected, tensors):
            return None, expected, []
        if matches_file(recorded[0], expected[0], tensors[0]):
            harmless = _find_hypotheses(recorded[0], expected[0], codes[0], tensors[0])
            return codes, expected, harmless
        tried.append((codes, expected))
    for codes, expected in tried:
        if hypotheses := _find_hypotheses(recorded[0], expected[0], codes[0], tensors[0]):
            return codes, expected, hypotheses
    return *tried[0], []


def _codes_behind(evidence: Evidence, fed: list[NDArray] | None) -> Iterator[Outputs]:
    inputs = evidence.file.inputs()
    if fed is not None and all(f.dtype == np.dtype(t.dtype) for f, t in zip(fed, inputs, strict=True)):
        yield evidence.file.codes(fed)
        return
    real = evidence.user_inputs if evidence.user_inputs is not None else evidence.right_inputs
    if [r.shape for r in real] != [r.shape for r in evidence.right_inputs]:
        sizes = [r[0].size == w[0].size for r, w in zip(real, evidence.right_inputs, strict=True)]
        real = [r.reshape(w.shape) for r, w in zip(real, evidence.right_inputs, strict=True)] if all(sizes) else None
        real = real or evidence.right_inputs
    yield from _codes_of(evidence, real)


def _codes_of(evidence: Evidence, real: list[NDArray]) -> Iterator[Outputs]:
    """The file's output codes for real inputs, quantized in each usual way of rounding."""
    inputs = evidence.file.inputs()
    yield evidence.file.codes(evidence.file.quantized(real))
    if inputs[0].quantization is not None:
        for rounding in (np.rint, np.trunc, np.floor):
            yield evidence.file.codes([_rounded(r, t, rounding) for r, t in zip(real, inputs, strict=True)])


def _rounded(real: NDArray, tensor: Tensor, rounding: Callable[[NDArray], NDArray]) -> NDArray:
    params = tensor.quantization
    if params is None:
        return to_codes(real, tensor)
    low, high = params.code_limits
    exact = real.astype(np.float32) / np.float32(params.scale[0])
    zero = int(params.zero_point[0])
    codes = rounding(exact) + zero if rounding is np.rint else rounding(exact + zero)
    return np.clip(codes, low, high).astype(tensor.dtype)


def _are_labels(recorded: NDArray, expected: NDArray) -> bool:
    """Whether the app recorded class numbers where the file gives scores."""
    if recorded.size != len(recorded) or not np.all(recorded == np.trunc(recorded)):
        return False
    columns = expected.reshape(len(expected), -1).shape[1]
    if columns > 1:
        return True
    decided = bool(np.isin(recorded, (0, 1)).all()) and recorded.dtype.kind in "iub"
    return decided and expected.min() >= -1e-3 and expected.max() <= 1.001


def _find_hypotheses(recorded: NDArray, expected: NDArray, codes: NDArray, tensor: Tensor) -> list[Hypothesis]:
    if _are_labels(recorded, expected):
        return list(outputs.diagnose_labels(recorded.reshape(-1), expected, codes, tensor))
    return list(outputs.diagnose_scores(recorded, expected, codes, tensor))


def matches_file(recorded: NDArray, expected: NDArray, tensor: Tensor) -> bool:
    """Whether the app recorded just what the file gives.

    Args:
        recorded: what the app recorded: scores or codes [N, ...], or labels [N].
        expected: float32 [N, ...], the file's output dequantized.
        tensor: the output tensor, with its scale and zero point.

    Returns:
        True where nearly all rows are the same within two codes.
    """
    if _are_labels(recorded, expected):
        return bool(np.mean(recorded.reshape(-1) == outputs.predicted_labels(expected)) > outputs.MATCH)
    values = recorded if recorded.dtype.kind == "f" else to_real(recorded, tensor)
    return values.size == expected.size and outputs.are_same(
        values.reshape(expected.shape), expected, outputs.output_tolerance(tensor)
    )


def _comparable(recorded: Outputs, expected: Outputs, tensors: list[Tensor]) -> Outputs | None:
    """The app's results as a score can read them."""
    first = recorded[0]
    if first.size == expected[0].size and first.dtype == np.dtype(tensors[0].dtype):
        first = to_real(first, tensors[0])
    if _are_labels(first, expected[0]):
        return [first.reshape(-1).astype(np.int64), *expected[1:]]
    if first.size == expected[0].size:
        return [first.reshape(expected[0].shape).astype(np.float32), *expected[1:]]
    return [first.astype(np.float32), *expected[1:]] if first.ndim == 2 else None


def _outputs_exchanged(
    evidence: Evidence, findings: Findings, recorded: Outputs, expected: Outputs, tensors: list[Tensor]
) -> bool:
    """C09: the app takes one head for another."""

    def fits(index: int, other: int) -> bool:
        values, tensor = recorded[index], tensors[other]
        values = values if values.dtype.kind == "f" else to_real(values, tensor)
        return outputs.are_same(values, expected[other], outputs.output_tolerance(tensor))

    order = find_order(len(expected), fits)
    if order is None or order == sorted(order):
        return False
    names = getattr(evidence.keras, "output_names", None) or [t.name for t in tensors]
    exchanged = "; ".join(f"{names[i]!r} is really {names[j]!r}" for i, j in enumerate(order) if i != j)
    words = f"the app reads the outputs in the file's order, which is not the model's: {exchanged}"
    fix = f"bind outputs by name, {BY_NAME}[{names[0]!r}]"
    lossy = evidence.score.drop(expected, recorded).significant
    findings.add(Hypothesis("C09", words, fix, 0.97, certain=True), 1.0 if lossy else None)
    return True


def _search_inputs(evidence: Evidence, findings: Findings, recorded: NDArray, tensor: Tensor) -> bool:
    """Which other inputs would have given just these outputs? True where found exactly: that is what the app fed."""
    right = evidence.right_inputs
    if len(right) != 1:
        return False
    others = [
        each for each in _other_inputs(evidence) if each.shape == right[0].shape and not np.allclose(each, right[0])
    ]
    nearest = sorted(others, key=lambda each: _distance(recorded, evidence.file.real([each])[0]))
    for values in nearest[:NEAREST]:
        for codes in _codes_of(evidence, [values]):
            if matches_file(recorded, evidence.file.dequantized(codes)[0], tensor):
                what = "the recorded outputs are those of other inputs"
                diagnose_inputs(evidence, findings, evidence.file.real, values, None, what)
                return True
    return False


def _distance(recorded: NDArray, expected: NDArray) -> float:
    """How unlike results are: the share of other labels, or the mean difference of scores of one kind."""
    if _are_labels(recorded, expected):
        return float(np.mean(recorded.reshape(-1) != outputs.predicted_labels(expected)))
    if recorded.size != expected.size:
        return np.inf
    first, second = (each.reshape(-1).astype(np.float64) for each in (recorded, expected))
    return (
        float(1 - np.corrcoef(first, second)[0, 1])
        if first.std() and second.std()
        else float(first.std() + second.std())
    )


def _one_label(recorded: NDArray, expected: NDArray) -> str:
    """Why nothing can be said of labels that are nearly all the same, though the file's are not."""
    if not _are_labels(recorded, expected):
        return ""
    (label, share), (_, usual) = (_most_frequent(each) for each in (recorded, outputs.predicted_labels(expected)))
    if share < ONE_LABEL or usual >= ONE_LABEL:
        return ""
    return (
        f"{share:.0%} of the app's labels are {label}, as a stale buffer, a wrong range and no input at all leave; "
        "give fed=, user_preprocess= or user_run= to see which"
    )


def _most_frequent(labels: NDArray) -> tuple[int, float]:
    values, counts = np.unique(labels.reshape(-1), return_counts=True)
    return int(values[counts.argmax()]), float(counts.max() / labels.size)


def _say_unexplained(
    evidence: Evidence, findings: Findings, recorded: NDArray, expected: Outputs, tensor: Tensor
) -> None:
    comparable = _comparable([recorded], expected[:1], [tensor])
    if comparable is not None and evidence.score.drop(expected, [*comparable, *expected[1:]]).significant:
        findings.unsure = (
            "the recorded outputs are not the file's for these inputs; "
            "give fed=, user_preprocess= or user_run= to see why"
        )


def _other_inputs(evidence: Evidence) -> Iterator[NDArray]:
    right, raw = evidence.right_inputs[0], reshape_like(evidence.case.inputs, evidence.right_inputs[0])
    if right.ndim == 4:
        transforms = [*SPATIAL.items(), *(CHANNELS.items() if right.shape[-1] == 3 else ())]
        for name, transform in transforms:
            if name != AS_IS:
                yield np.ascontiguousarray(transform(right), np.float32)
    if raw is not None:
        yield from (normalise(raw, name) for name in list_normalisations(raw))
    for number in dict.fromkeys((0.0, float(right.min()), float(right.max()))):
        yield np.full_like(right, number)


def _logits_note(evidence: Evidence, findings: Findings, recorded: NDArray) -> None:
    scores = recorded.ndim == 2 and recorded.dtype.kind == "f" and recorded.shape[1] > 1
    if evidence.facts.gives_probabilities() or not scores or not evidence.classifies or findings.causes:
        return
    if recorded.min() < BELOW or recorded.max() > ABOVE:
        findings.notes.append(
            f"O04: the file gives logits ({recorded.min():.3g}..{recorded.max():.3g}), not "
            "probabilities: apply softmax before comparing them with a threshold"
        )


# ---- O06


def diagnose_state(evidence: Evidence, findings: Findings) -> None:
    """O06: the same samples in the other order must give the same results.

    Args:
        evidence: what is known of a case with `user_run`, which is called twice more, with up to `STATE_SAMPLES` raw
            samples [n, ...].
        findings: the result so far; it gets the cause.
    """
    few = evidence.case.inputs[:STATE_SAMPLES]
    if len(few) < FEWEST:
        return
    pick = (lambda v: np.asarray(v[0])) if len(evidence.case.graph.outputs) > 1 else np.asarray
    (first, fed), (second, fed_second) = (_run_again(evidence, samples, pick) for samples in (few, few[::-1]))
    rows = {row.tobytes() for row in first}
    if first.shape != second.shape or len(first) != len(few) or len(rows) < DISTINCT_ROWS:
        return
    if fed is not None and fed_second is not None and len(fed) == 1 and not np.array_equal(fed[0], fed_second[0][::-1]):
        return  # the app feeds other numbers: no state of the model's
    changed = np.abs(first.astype(np.float64) - second[::-1]).reshape(len(few), -1).max(axis=1)
    if np.mean(changed > 1e-6 + CHANGED * np.ptp(first)) > CHANGED_ROWS and not _late(first, second):
        hypothesis = Hypothesis(
            "O06",
            "the same samples in reverse order give other results: something is carried from one call to the next",
            "make a new interpreter for each sequence, or before each: interpreter.reset_all_variables()",
            0.9,
            certain=True,
        )
        own, theirs = evidence.file_outputs, evidence.app_outputs  # our runs of the file start from a fresh state each
        lossy = own is not None and theirs is not None and evidence.score.drop(own, theirs).significant
        findings.causes = [each for each in findings.causes if each.id != "C13"]  # the state makes other numbers
        findings.add(hypothesis, 1.0 if lossy else None)
        findings.unsure = ""


def _run_again(evidence: Evidence, samples: NDArray, pick: Callable[[Any], NDArray]) -> tuple[NDArray, Outputs | None]:
    """The app's first output for these raw samples, and what it wrote into the inputs."""
    with record_calls() as calls:
        result = pick(call_user("user_run", evidence.case.user_run, samples, evidence.case.content))
    return result, calls.fed(evidence.case.graph, len(samples))


def _late(first: NDArray, second: NDArray) -> bool:
    """One sample late, or all the same: a stale buffer, not a state."""
    return bool(np.allclose(first[1:], first[:1]) or np.allclose(second[1:], second[:1]))
