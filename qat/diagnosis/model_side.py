"""Is the file at fault? The Keras model against the file on right inputs, then one repair after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qat.diagnosis.diagnosis import Cause, Finding
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.facts import Facts
from qat.diagnosis.making import Recipe
from qat.diagnosis.probes import calibration, conversion, model, qat
from qat.diagnosis.running import FileRunner
from qat.diagnosis.side import Side
from qat.diagnosis.weights import LayerCosine, growth, layer_cosines, strangers
from qat.diagnosis.yardstick import ENOUGH, FAULT_DB, Drop, Yardstick, worst_sqnr_db
from qat.errors import QatError
from qat.tflite import read

OTHER_WEIGHTS, SCRATCH, SAME_WEIGHTS = 0.6, 0.35, 0.97
KERNEL_SAMPLES = 64
MANY = 3  # layers without a partner that are no accident of conversion
GROWN = 2.0  # kernels that a training with too large steps has blown up
HALF = 0.5
AGREES, AGREES_QAT = 0.95, 0.85


def judge_model(evidence: Evidence) -> Side:
    """Causes of families C, Q, M and T."""
    side = Side()
    static = [f for f in _static(evidence) if not _noted(side, f)]
    cosines = _weights(evidence)
    side.drop = _loss(evidence)
    measured = side.drop is not None
    lossy = measured and side.drop.significant
    for finding in static:
        if finding.id == "C06" and measured:
            continue  # calibration has to be excluded first
        if not finding.needs_loss or (finding.certain and (lossy or not measured)):
            side.causes.append(_proved_by_remaking(evidence, finding, lossy))
        elif not measured and finding.strength >= 0.7 and not finding.certain:
            side.causes.append(Cause.of(finding, "consistent"))
        elif not lossy:
            side.note(finding)
    if evidence.keras is not None and (found := _wrong_weights(evidence, cosines)) is not None:
        if lossy or (not measured and found.certain):
            side.causes.append(_proved_by_remaking(evidence, found, lossy))
        else:
            side.note(found)
    if lossy and not _explained(side):
        _explain_loss(evidence, side, static, cosines)
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


def _weights(evidence: Evidence) -> list[LayerCosine]:
    return layer_cosines(evidence.facts, evidence.keras) if evidence.keras is not None else []


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


def _wrong_weights(evidence: Evidence, cosines: list[LayerCosine]) -> Finding | None:
    """C07, T03, T04: kernels that are not the Keras model's."""
    if not cosines:
        return _other_architecture(evidence)
    values = np.array([c.cosine for c in cosines])
    worst = [c for c in cosines if c.cosine < OTHER_WEIGHTS]
    named = ", ".join(f"{c.layer!r} {c.cosine:.2f}" for c in (worst or cosines)[:6])
    text = f"cosine between the file's kernels and the Keras model's, median over channels: {named}"
    if evidence.facts.trained_quantized and not evidence.keras_is_qat:
        return _other_training(evidence, float(np.median(values)), text)
    if worst:
        return Finding(
            "C07", f"{text}; the same checkpoint gives 0.99 and more",
            "convert the model that was loaded from the checkpoint: assert model.evaluate(...) right before convert()",
            0.97, certain=True,
        )  # fmt: skip
    return None


def _other_architecture(evidence: Evidence) -> Finding | None:
    """C07: not one kernel of the file has the shape of one of the Keras model's."""
    named = strangers(evidence.facts, evidence.keras)
    if len(named) < MANY:
        return None
    return Finding(
        "C07", f"no Keras kernel has the shape of any of the file's ({', '.join(named[:4])}, ...): these are "
        "two architectures",
        "give the model that this file was made from; or convert the one given", 0.8,
    )  # fmt: skip


def _other_training(evidence: Evidence, middle: float, text: str) -> Finding | None:
    """T03, T04: quantization-aware training that began elsewhere, or went far away."""
    if middle >= SAME_WEIGHTS:
        return None
    content = evidence.content(Recipe(scheme="float32"))
    grown = growth(evidence.facts, Facts(read(content))) if content is not None else None
    blown_up = grown is not None and grown > GROWN
    if middle < SCRATCH and not blown_up:
        return Finding(
            "T03", f"{text}: quantization-aware training did not start from these float weights",
            "load the trained weights before quantize_model(), e.g. float_model.load_weights(...); assert "
            "float_model.evaluate(...) first", 0.95, certain=True,
        )  # fmt: skip
    size = f", and made them {grown:.1f} times as large" if blown_up else ""
    return Finding(
        "T04", f"{text}: the training with quantization has moved the weights far away{size}",
        "divide its learning rate by 10 (about 1/100 of the float training's), and compile again after "
        "quantize_apply", 0.9 if blown_up else 0.8, certain=blown_up,
    )  # fmt: skip


def _explained(side: Side) -> bool:
    return any(cause.certainty in ("proved", "certain") and cause.id not in ("C01", "C03") for cause in side.causes)


def _proved_by_remaking(evidence: Evidence, finding: Finding, lossy: bool) -> Cause:
    """A certain finding; proved as well if a file made rightly brings the loss back."""
    if lossy:
        share = _recovered(evidence, Recipe())
        if share is not None and share >= ENOUGH:
            return Cause.of(finding, "proved", share)
        return Cause.of(finding, "certain" if finding.certain else "consistent", share)
    return Cause.of(finding, "certain" if finding.certain else "consistent")


def _recovered(evidence: Evidence, recipe: Recipe) -> float | None:
    outputs = evidence.remade(recipe)
    return None if outputs is None else evidence.yardstick.recovered(evidence.a0, evidence.a2, outputs)


def _explain_loss(evidence: Evidence, side: Side, static: list[Finding], cosines: list[LayerCosine]) -> None:
    if (share := _reference_kernels(evidence)) is not None and share >= ENOUGH:
        side.causes.append(Cause.of(conversion.other_kernels(share), "proved", share))
        return
    good = _recovered(evidence, Recipe())
    if evidence.facts.scheme == "float32":
        _float_file(evidence, side)
    elif good is None:
        side.unsure = "the file loses against the Keras model, and none could be made from it to compare: " + "; ".join(
            evidence.remarks[-1:]
        )
        side.causes += [Cause.of(f, "consistent") for f in static if f.needs_loss and not f.harmless][:1]
    elif good >= ENOUGH or not _still_lossy(evidence, Recipe()):
        _calibration_or_scheme(evidence, side, static, good)
    else:
        if good >= HALF:  # two faults: one in how the file was made, one in the model
            _calibration_or_scheme(evidence, side, static, good)
        _hard_model(evidence, side)


def _reference_kernels(evidence: Evidence) -> float | None:
    """Share of the loss that the runtime's plain kernels do not have."""
    few = [values[:KERNEL_SAMPLES] for values in evidence.right_inputs]
    try:
        plain = FileRunner(evidence.case.content, evidence.case.graph, reference_kernels=True)
        plain.input_order, plain.output_order = evidence.file.input_order, evidence.file.output_order
        found = plain.real(few)
    except QatError:
        return None
    own, wanted = ([each[:KERNEL_SAMPLES] for each in outputs] for outputs in (evidence.a2, evidence.a0))
    part = Yardstick(None, wanted, evidence.classifies)
    return part.recovered(wanted, own, found) if part.drop(wanted, own).significant else None


def _still_lossy(evidence: Evidence, recipe: Recipe) -> bool:
    outputs = evidence.remade(recipe)
    return outputs is None or evidence.yardstick.drop(evidence.a0, outputs).significant


def _float_file(evidence: Evidence, side: Side) -> None:
    distance = worst_sqnr_db(evidence.a0, evidence.a1) if evidence.a1 is not None else None
    remade = f"; a float file made here reaches {distance:.0f} dB" if distance is not None else ""
    finding = Finding(
        "C12", f"the file computes in float32 and still departs from the Keras model{remade}",
        "convert again with this TensorFlow; if it stays, name op and version in a bug report", 0.5,
    )  # fmt: skip
    side.causes.append(Cause.of(finding, "consistent"))


def _calibration_or_scheme(evidence: Evidence, side: Side, static: list[Finding], good: float) -> None:
    """A file made rightly is sound: what is the smallest part of "rightly" that does it?"""
    stale = [f for f in static if f.id == "T01" and not f.harmless]
    if stale:
        side.causes.append(Cause.of(stale[0], "proved", good))
        return
    if evidence.facts.trained_quantized:
        finding = Finding(
            "T06", "weights are the Keras model's and ranges have converged, yet the integer file loses",
            "compare layer by layer (python -m qat.train prints parity); replace the op that departs first", 0.4,
        )  # fmt: skip
        side.causes.append(Cause.of(finding, "consistent", good))
        return
    coarse = conversion.per_tensor(evidence.facts)
    if coarse:
        _per_tensor(evidence, side, coarse, good)
    else:
        side.causes += _named_calibration(evidence, "proved" if good >= ENOUGH else "consistent", good)


def _per_tensor(evidence: Evidence, side: Side, coarse: list[tuple[str, int]], good: float) -> None:
    only_calibrated = _recovered(evidence, Recipe(per_channel=False))
    named = ", ".join(f"{layer!r} ({channels} channels)" for layer, channels in coarse[:4])
    finding = Finding(
        "C06", f"{len(coarse)} convolutions have one weight scale for all their channels: {named}",
        "drop converter._experimental_disable_per_channel (per-channel weights are the default), or "
        "equalize the channels "
        "before converting", 0.9,
    )  # fmt: skip
    if only_calibrated is not None and only_calibrated >= ENOUGH:
        side.note(finding)
        side.causes += _named_calibration(evidence, "proved", only_calibrated)
        return
    side.causes.append(Cause.of(finding, "proved" if good >= ENOUGH else "consistent", good))
    if _calibration_differs(evidence):
        side.causes += _named_calibration(evidence, "proved" if good >= ENOUGH else "consistent", good)


def _calibration_differs(evidence: Evidence) -> bool:
    """Whether the file's ranges are far from those of right samples: a second fault beside the weights."""
    from qat.diagnosis.ranges import ranked_guesses

    limits, want = evidence.facts.input_range, evidence.right_limits
    if limits is not None and want is not None:
        ratio = (limits[1] - limits[0]) / max(want[1] - want[0], 1e-12)
        if ratio > calibration.TOO_WIDE or ratio < calibration.TOO_NARROW:
            return True
    guesses = ranked_guesses(evidence)
    right = next((g.distance for g in guesses if not g.id), 0.0)
    return bool(guesses) and right > 1.0 and guesses[0].distance < 0.5 * right


def _named_calibration(evidence: Evidence, certainty: str, share: float) -> list[Cause]:
    found = sorted(calibration.from_samples(evidence), key=lambda f: -f.strength)
    if not found:
        found = sorted(calibration.from_ranges(evidence), key=lambda f: -f.strength)
    first = Cause.of(found[0], certainty, share)
    rest = [f for f in found[1:] if f.id != first.id and evidence.calibration is not None and f.strength > 0.7]
    return [first, *(Cause.of(f, "consistent") for f in rest[:1])]


def _hard_model(evidence: Evidence, side: Side) -> None:
    """Even the best integer file loses: M, or the converter."""
    distance = worst_sqnr_db(evidence.a0, evidence.a1) if evidence.a1 is not None else np.inf
    if distance < FAULT_DB + 10:
        finding = Finding(
            "C12", f"a float32 file made here departs from the Keras model as well ({distance:.1f} dB)",
            "an op is converted wrongly: try another TensorFlow, or replace the op", 0.9,
        )  # fmt: skip
        side.causes.append(Cause.of(finding, "consistent"))
        return
    findings = sorted(model.hard_to_quantize(evidence), key=lambda f: -f.strength)
    share = _recovered(evidence, Recipe(scheme="int16x8"))
    if findings[0].id == "M03":
        noises = model.activation_noise(evidence)
        one = model.sensitive_layer(
            evidence, noises, lambda o: evidence.yardstick.recovered(evidence.a0, evidence.a2, o)
        )
        findings = [one, *findings] if one is not None else findings
    first = findings[0]
    share = first.proved_share if first.proved_share is not None else share
    side.causes.append(Cause.of(first, "proved" if share is not None and share >= ENOUGH else "consistent", share))


def _note_oddities(evidence: Evidence, side: Side, lossy: bool) -> None:
    facts, seen = evidence.facts, evidence.calibration
    if facts.scheme in ("float32", "float16", "dynamic_range") and evidence.case.expect is None and not side.causes:
        side.notes.append(f"the file is {facts.scheme}, not integer; say expect=int8 if that is not what you meant")
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
