"""Is the file at fault? The Keras model against the file on right inputs, then one repair after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from qat.commands import command
from qat.diagnosis import catalogue
from qat.diagnosis.catalogue import PER_CHANNEL, PER_CHANNEL_RUN, SLOWER, format_verify_command
from qat.diagnosis.engine import ENOUGH, Findings, Hypothesis, Loss, repair_state
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.hypotheses import calibration, conversion, model, origin, structure, training, weights
from qat.diagnosis.hypotheses.ranges import diagnose_without_data, rank_guesses
from qat.diagnosis.runs import Conversion
from qat.diagnosis.score import FAULT_DB, Drop
from qat.variants import CALIBRATED_KINDS

AGREES, AGREES_TRAINED = 0.95, 0.85  # with the Keras model; what training in 8 bits moved may agree less
AGREES_AGAIN = 0.9  # what a file converted here must reach, to be the measure of the user's
STRONG = 0.7  # of a signature that counts where nothing was measured
HALF = 0.5  # of the loss; what a repair recovers of it is one of two faults
SURELY_INEXACT = FAULT_DB + 10  # dB, of a float file
FAR, NEAR_BY = 1.0, 0.5  # octaves between the file's ranges and right ones; share of it that a guess leaves
MUCH_BETTER = 0.9  # share of the noise power that a file converted rightly has not


def diagnose_file(evidence: Evidence) -> Findings:
    """Causes of families C, Q, M and T."""
    findings = Findings(drop=_measure_drop(evidence))
    loss = None if findings.drop is None else _make_loss(evidence)
    static = []
    for each in _list_static_hypotheses(evidence):
        findings.note(each) if each.harmless else static.append(each)
    if loss is None:
        _diagnose_without_outputs(evidence, findings, static)
    else:
        _diagnose_by_outputs(evidence, findings, static, loss)
    _note_oddities(evidence, findings)
    return findings


def _make_loss(evidence: Evidence) -> Loss[Conversion]:
    user_conversion = Conversion(calibration="user", per_channel=not conversion.per_tensor(evidence.facts))
    return replace(evidence.loss_of_file, state=user_conversion, run=evidence.convert_and_run)


def _diagnose_without_outputs(evidence: Evidence, findings: Findings, static: list[Hypothesis]) -> None:
    """By signatures, weights and synthetic images."""
    for each in static:
        named = not each.needs_loss or each.certain or each.strength >= STRONG
        (findings.add if named else findings.note)(each)
    if evidence.keras is None:
        return
    if (wrong := origin.find_wrong_weights(evidence)) is not None:
        (findings.add if wrong.certain else findings.note)(wrong)
    if not findings.causes and (rescaled := weights.find_rescaled_weights(evidence)) is not None and rescaled.certain:
        findings.add(rescaled)
    if not findings.causes and (other := weights.find_other_weights(evidence)) is not None:
        findings.add(other)
    if not findings.causes:
        diagnose_without_data(evidence, findings)


def _diagnose_by_outputs(
    evidence: Evidence, findings: Findings, static: list[Hypothesis], loss: Loss[Conversion]
) -> None:
    lossy = findings.lossy
    for each in static:
        if each.id in catalogue.AFTER_CALIBRATION:
            continue
        if not each.needs_loss or (each.certain and lossy):
            findings.add(each, loss.recovered(Conversion()) if lossy else None)
        elif not lossy:
            findings.note(each)
    if (wrong := origin.find_wrong_weights(evidence)) is not None:
        if lossy:
            findings.add(wrong, loss.recovered(Conversion()))
        else:
            findings.note(wrong)
    lower = evidence.score.unit != "dB" and loss.drop.points > 0
    if lower and not lossy and (rescaled := weights.find_rescaled_weights(evidence)) is not None:
        findings.note(rescaled)
    explained = any(c.certainty != "consistent" and c.id not in catalogue.SAY_FLOAT_ALONE for c in findings.causes)
    if lossy and not explained:
        _explain(evidence, findings, static, loss)
    elif evidence.score.unit == "dB" and not lossy and loss.drop.value < SURELY_INEXACT:
        _note_inexact(evidence, findings, static, loss)


def _note_inexact(evidence: Evidence, findings: Findings, static: list[Hypothesis], loss: Loss[Conversion]) -> None:
    """A note on a real-valued file that is no fault by the rule, and yet far behind one converted rightly."""
    share = loss.recovered(Conversion())
    if share is None or share < MUCH_BETTER or evidence.facts.trained_quantized:
        return
    supposed = Findings()
    _explain(evidence, supposed, static, loss)
    for cause in supposed.causes[:1]:
        findings.notes.append(
            f"{cause.id}: {cause.evidence}. The file keeps {loss.drop.value:.1f} dB, more than the {FAULT_DB:.0f} that "
            "count as a fault; one converted rightly has a tenth of its noise or less"
        )


def _list_static_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """What the file says of itself."""
    facts, samples, expect = evidence.facts, evidence.calibration, evidence.case.expect
    yield from conversion.find_float_body(facts, expect, samples)
    yield from training.find_float_layers(facts, expect)
    for signature in (*conversion.FROM_FILE_ALONE, *training.FROM_FILE_ALONE, calibration.find_constant):
        yield from (_as_asked(evidence, each) for each in signature(facts))


def _measure_drop(evidence: Evidence) -> Drop | None:
    """What the file loses on right inputs; None where it cannot be measured."""
    if evidence.keras_outputs is None:
        return None
    score = evidence.score
    drop = score.drop(evidence.keras_outputs, evidence.file_outputs)
    if drop.significant and (drop.unit or score.unit) != "accuracy" and _is_moved_by_training(evidence):
        return replace(drop, significant=False)
    if score.unit != "agreement":
        return drop
    if drop.value >= (AGREES_TRAINED if evidence.facts.trained_quantized else AGREES):
        return Drop(drop.reference, drop.value, drop.points, 1.0, False)
    good = evidence.convert_and_run(Conversion())
    if good is None or score.value(good) < AGREES_AGAIN:
        return drop
    return score.drop(good, evidence.file_outputs)


def _is_moved_by_training(evidence: Evidence) -> bool:
    """Training with quantization departs from the float model by design: for the worse, only labels can say."""
    if not evidence.facts.trained_quantized or evidence.keras_is_qat:
        return False
    wrong = origin.find_wrong_weights(evidence)
    return (wrong is None or not wrong.certain) and weights.computes_its_weights(evidence)


# ---- which repair brings the loss back


def _explain(evidence: Evidence, findings: Findings, static: list[Hypothesis], loss: Loss[Conversion]) -> None:
    """Adds the causes whose repair recovers it."""
    file = evidence.loss_of_file
    for mended in (weights.find_rescaled_weights(evidence), structure.find_other_ops(evidence)):
        if mended is not None and (share := file.recovered(repair_state(file.state, [mended])) or 0.0) >= ENOUGH:
            findings.add(mended, share)
            return
    if (other := weights.find_other_weights(evidence)) is not None:
        findings.add(other, loss.recovered(Conversion()))
        return
    share = loss.recovered(Conversion())
    if evidence.facts.scheme in ("float32", "float16"):
        findings.add(_other_float(evidence))
    elif share is None:
        why = "; ".join(evidence.remarks[-1:])
        findings.unsure = f"the file loses against the Keras model, and none could be made from it to compare: {why}"
        for each in [each for each in static if each.needs_loss][:1]:
            findings.add(each, certainty="consistent")
    elif share >= ENOUGH or not loss.remains(Conversion()):
        _explain_conversion(evidence, findings, static, loss, share)
    else:
        if share >= HALF:  # two faults: one in how the file was made, one in the model
            _explain_conversion(evidence, findings, static, loss, share)
        _explain_model(evidence, findings, loss)


def _other_float(evidence: Evidence) -> Hypothesis:
    distance = evidence.float_file_db
    distance_text = f"; a float file made here reaches {distance:.0f} dB" if distance is not None else ""
    return Hypothesis(
        "C12",
        f"the file ({evidence.facts.scheme}) computes in float and still departs from the Keras model{distance_text}",
        "convert again with this TensorFlow; if it stays, name op and version in a bug report",
        0.5,
    )


def _explain_conversion(
    evidence: Evidence, findings: Findings, static: list[Hypothesis], loss: Loss[Conversion], share: float
) -> None:
    """A file converted rightly is sound: what is the smallest part of "rightly" that does it?"""
    coarse = conversion.per_tensor(evidence.facts)
    if stale := [each for each in static if each.id in catalogue.NEEDS_MORE_STEPS]:
        findings.add(stale[0], share, "proved")
    elif not evidence.case.per_channel and coarse and not _recover_by_calibration(loss):
        findings.add(_name_per_tensor(evidence, coarse), share)
    elif evidence.facts.trained_quantized and weights.computes_its_weights(evidence):
        words = "the file does what its weights do in float, and these lose: the training with quantization lost it"
        findings.add(Hypothesis("T04", words, SLOWER, 0.4), share, "consistent")
    elif evidence.facts.trained_quantized:
        hypothesis = Hypothesis(
            "T06",
            "weights are the Keras model's and ranges have converged, yet the integer file loses",
            f"replace the op that departs first; a run measures parity layer by layer: {command('train')}",
            0.4,
        )
        findings.add(hypothesis, share, "consistent")
    elif (finer := model.find_coarse_output(evidence, share)) is not None:
        findings.add(finer)
    elif coarse:
        _explain_per_tensor(evidence, findings, coarse, loss, share)
    elif evidence.facts.scheme in CALIBRATED_KINDS:
        _add_calibration(evidence, findings, share)
    else:
        findings.add(_other_float(evidence))


def _explain_per_tensor(
    evidence: Evidence, findings: Findings, coarse: list[tuple[str, int]], loss: Loss[Conversion], share: float
) -> None:
    hypothesis = _name_per_tensor(evidence, coarse)
    if calibrated := _recover_by_calibration(loss):
        findings.note(hypothesis)
        _add_calibration(evidence, findings, calibrated)
        return
    findings.add(hypothesis, share)
    if _calibration_differs(evidence):
        _add_calibration(evidence, findings, share)


def _name_per_tensor(evidence: Evidence, coarse: list[tuple[str, int]]) -> Hypothesis:
    named = ", ".join(f"{layer!r} ({channels} channels)" for layer, channels in coarse[:4])
    words = f"{len(coarse)} convolutions have one weight scale for all their channels: {named}"
    return _as_asked(evidence, Hypothesis("C06", words, PER_CHANNEL, 0.9))


def _as_asked(evidence: Evidence, hypothesis: Hypothesis) -> Hypothesis:
    """C06 of a run that asked for it: another option mends that, whoever converts the file."""
    if hypothesis.id != "C06" or evidence.case.per_channel:
        return hypothesis
    words = f"{hypothesis.evidence}; quant.per_channel=false asked for it"
    return replace(hypothesis, evidence=words, fix=PER_CHANNEL_RUN)


def _recover_by_calibration(loss: Loss[Conversion]) -> float | None:
    """The share of the loss that right calibration brings back, where that is enough; else None."""
    share = loss.recovered(calibration.recalibrate(loss.state))
    return share if share is not None and share >= ENOUGH else None


def _calibration_differs(evidence: Evidence) -> bool:
    """Whether the file's ranges are far from those of right samples: a second fault in addition to the weights."""
    limits, want = evidence.facts.input_range, evidence.right_limits
    if limits is not None and want is not None:
        ratio = (limits[1] - limits[0]) / max(want[1] - want[0], 1e-12)
        if ratio > calibration.TOO_WIDE or ratio < calibration.TOO_NARROW:
            return True
    guesses = rank_guesses(evidence)
    right = next((each.distance for each in guesses if not each.id), 0.0)
    return bool(guesses) and right > FAR and guesses[0].distance < NEAR_BY * right


def _add_calibration(evidence: Evidence, findings: Findings, share: float) -> None:
    first, *rest = calibration.name_calibration(evidence)
    findings.add(first, share)
    others = [each for each in rest if each.id != first.id and each.strength > STRONG]
    for each in others[:1] if evidence.calibration is not None else ():
        findings.add(each, certainty="consistent")


def _explain_model(evidence: Evidence, findings: Findings, loss: Loss[Conversion]) -> None:
    """Even the best integer file loses: M, or the converter."""
    distance = evidence.float_file_db
    if distance is not None and distance < SURELY_INEXACT:
        hypothesis = Hypothesis(
            "C12",
            f"a float32 file made here departs from the Keras model as well ({distance:.1f} dB)",
            "an op is converted wrongly: try another TensorFlow, or replace the op",
            0.9,
        )
        findings.add(hypothesis)
        return
    first = model.find_hard_activations(evidence)[0]
    findings.add(first, None if first.recovered is not None else loss.recovered(model.widen_activations(Conversion())))


def _note_oddities(evidence: Evidence, findings: Findings) -> None:
    facts, samples, expect = evidence.facts, evidence.calibration, evidence.case.expect
    notes, sound = findings.notes, not findings.causes
    if facts.scheme in ("float32", "float16", "dynamic_range") and expect is None and sound:
        notes.append(f"the file is {facts.scheme}, not integer; say expect=int8 if that is not what you meant")
    if samples is not None and samples.problem and sound:
        notes.append(f"the calibration handed over cannot be used: {samples.problem}")
    if not evidence.case.runs_here and not evidence.case.graph.lacks_weights:
        named = ", ".join(sorted({op.label for op in evidence.case.graph.ops if op.custom_code}))
        findings.unsure = f"this runtime has no kernels for {named}: the file was read, not run"
    elif expect not in (None, facts.scheme) and sound and not conversion.stays_float(facts, expect):
        findings.unsure = (
            f"expect={expect}, and the file is {facts.scheme}: see which file is shipped, {format_verify_command()}"
        )
    if samples is not None and facts.trained_quantized and facts.scheme == "int8":
        notes.append("T07: a representative dataset given with a QAT model is ignored; harmless")
    coarse = conversion.per_tensor(facts) and not any(c.id in catalogue.AFTER_CALIBRATION for c in findings.causes)
    if coarse and evidence.case.per_channel and not findings.lossy:
        notes.append("C06: convolution weights have one scale for all channels; it costs nothing that was measured")
    if samples is not None and not findings.lossy and sound:
        for each in calibration.judge_samples(evidence):
            if each.id not in findings.noted:
                findings.note(each)
    if samples is not None and samples.usable and samples.exhausted:
        notes.append("the calibration generator is used up after one pass; a second conversion would see nothing")
