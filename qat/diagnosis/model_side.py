"""Is the file at fault? The Keras model against the file on right inputs, then one repair after the other."""

from __future__ import annotations

from dataclasses import replace

from qat.diagnosis.diagnosis import Cause, Finding
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.explaining import explain_loss, proved_by_remaking
from qat.diagnosis.making import Recipe
from qat.diagnosis.probes import calibration, conversion, qat
from qat.diagnosis.side import Side
from qat.diagnosis.weight_faults import wrong_weights
from qat.diagnosis.yardstick import Drop

AGREES, AGREES_QAT = 0.95, 0.85


def judge_model(evidence: Evidence) -> Side:
    """Causes of families C, Q, M and T."""
    side = Side()
    static = [f for f in _static(evidence) if not _noted(side, f)]
    side.drop = _loss(evidence)
    measured = side.drop is not None
    lossy = measured and side.drop.significant
    for finding in static:
        if finding.id == "C06" and measured:
            continue  # calibration has to be excluded first
        if not finding.needs_loss or (finding.certain and (lossy or not measured)):
            side.causes.append(proved_by_remaking(evidence, finding, lossy))
        elif not measured and finding.strength >= 0.7 and not finding.certain:
            side.causes.append(Cause.of(finding, "consistent"))
        elif not lossy:
            side.note(finding)
    if evidence.keras is not None and (found := wrong_weights(evidence)) is not None:
        if lossy or (not measured and found.certain):
            side.causes.append(proved_by_remaking(evidence, found, lossy))
        else:
            side.note(found)
    if lossy and not _explained(side):
        explain_loss(evidence, side, static)
    if not measured and evidence.keras is not None and not side.causes:
        from qat.diagnosis.without_data import judge_without_data

        judge_without_data(evidence, side)
    _note_oddities(evidence, side, lossy)
    return side


def _static(evidence: Evidence) -> list[Finding]:
    facts, seen = evidence.facts, evidence.calibration
    sound = None if seen is None else seen.usable
    found = list(conversion.not_quantized(facts, evidence.case.expect, seen is not None, sound))
    found += list(qat.float_though_int8(facts, evidence.case.expect))
    for probe in (*conversion.STATIC, *qat.STATIC, calibration.constant):
        found += list(probe(facts))
    if seen is not None and not seen.usable and facts.scheme == "float32" and found:
        why = seen.problem or f"{seen.count} samples, some NaN or infinite"
        found = [
            replace(f, evidence=f"{f.evidence}. The calibration handed over: {why}") if f.id == "C02" else f
            for f in found
        ]
    return found


def _noted(side: Side, finding: Finding) -> bool:
    if finding.harmless:
        side.note(finding)
    return finding.harmless


def _loss(evidence: Evidence) -> Drop | None:
    """What the file loses on right inputs; None where it cannot be measured."""
    if evidence.a0 is None:
        return None
    yardstick = evidence.yardstick
    drop = yardstick.drop(evidence.a0, evidence.a2)
    if yardstick.unit != "agreement":
        if yardstick.unit == "dB" and drop.significant and evidence.facts.trained_quantized:
            return drop
        return drop
    bar = AGREES_QAT if evidence.facts.trained_quantized else AGREES
    if drop.value >= bar:
        return Drop(drop.reference, drop.value, drop.points, 1.0, False)
    good = evidence.remade(Recipe())
    if good is None or yardstick.value(good) < 0.9:
        return drop
    return yardstick.drop(good, evidence.a2)


def _explained(side: Side) -> bool:
    return any(cause.certainty in ("proved", "certain") and cause.id not in ("C01", "C03") for cause in side.causes)


def _note_oddities(evidence: Evidence, side: Side, lossy: bool) -> None:
    facts, seen = evidence.facts, evidence.calibration
    if facts.scheme in ("float32", "float16", "dynamic_range") and evidence.case.expect is None and not side.causes:
        side.notes.append(f"the file is {facts.scheme}, not integer; say expect=int8 if that is not what you meant")
    if seen is not None and seen.problem and not side.causes:
        side.notes.append(f"the calibration handed over cannot be used: {seen.problem}")
    if not evidence.case.runs_here:
        named = ", ".join(sorted({op.label for op in evidence.case.graph.ops if op.custom_code}))
        side.notes.append(f"this runtime has no kernels for {named}: the file was read, not run")
    expect = evidence.case.expect
    if expect not in (None, facts.scheme) and not side.causes:
        side.notes.append(f"expect={expect}, and the file is {facts.scheme}")
    if seen is not None and facts.trained_quantized and facts.scheme == "int8":
        side.notes.append("T07: a representative dataset given with a QAT model is ignored; harmless")
    if conversion.per_tensor(facts) and not any(c.id == "C06" for c in side.causes) and not lossy:
        side.notes.append(
            "C06: convolution weights have one scale for all channels; it costs nothing that was measured"
        )
    if seen is not None and not lossy and not side.causes:
        for finding in calibration.from_samples(evidence):
            side.note(finding)
    if seen is not None and seen.usable and seen.exhausted:
        side.notes.append("the calibration generator is used up after one pass; a second conversion would see nothing")
