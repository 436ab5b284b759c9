"""A loss was measured between the Keras model and the file: which repair brings it back?"""

from __future__ import annotations

import numpy as np

from qat.commands import command
from qat.diagnosis.diagnosis import Cause, Finding
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.fixes import PER_CHANNEL
from qat.diagnosis.making import Recipe
from qat.diagnosis.probes import calibration, conversion, model
from qat.diagnosis.running import FileRunner
from qat.diagnosis.side import Side
from qat.diagnosis.yardstick import ENOUGH, FAULT_DB, Yardstick, worst_sqnr_db
from qat.errors import QatError

KERNEL_SAMPLES = 64
HALF = 0.5


def proved_by_remaking(evidence: Evidence, finding: Finding, lossy: bool) -> Cause:
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


def explain_loss(evidence: Evidence, side: Side, static: list[Finding]) -> None:
    """Adds the causes whose repair recovers it; `static`: what the file says about itself."""
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
            f"replace the op that departs first; a run measures parity layer by layer: {command('train')}", 0.4,
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
        PER_CHANNEL, 0.9,
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
