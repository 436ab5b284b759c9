"""Q: what the calibration samples were, judged by the samples themselves or by the ranges that they left."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qat.diagnosis.diagnosis import Finding, Repair
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.facts import Facts, preset_of
from qat.diagnosis.inferring import fits
from qat.diagnosis.ranges import Guess, in_times, ranked_guesses

CONSTANT_SCALE = 1e-7
FEW_DISTINCT = 20
NOISE_CORRELATION = 0.3
OUTLIER_RATIO = 4.0
TOO_WIDE, TOO_NARROW, MUCH_NARROWER = 3.0, 1 / 3, 1 / 8
TRAINABLE = ("[0, 1]", "[-1, 1]", "[-0.5, 0.5]", "ImageNet mean/std", "caffe BGR means")
CLIPPED = 0.01
ONE_CLASS = 0.6  # share of the calibration samples that the model takes for one class
FIX = (
    "calibrate with 100-500 real training samples that went through the training preprocessing: "
    "converter.representative_dataset = lambda: ([preprocess(x[None])] for x in samples)"
)


def constant(facts: Facts) -> Iterator[Finding]:
    """Q08: an input scale that only zeros leave."""
    for params, tensor in zip(facts.input_params, facts.graph.inputs, strict=True):
        if params is None:
            continue
        scale = float(params.scale[0])
        if scale < CONSTANT_SCALE and not (3.5e-9 < scale < 4.3e-9 and facts.trained_quantized):
            yield Finding(
                "Q08",
                f"the scale of input {tensor.name.split(':')[0]!r} is {scale:.2g}: calibration saw nothing but zeros",
                FIX, 1.0, certain=True, needs_loss=False, repair=Repair("model", _recalibrate),
            )  # fmt: skip


def from_samples(evidence: Evidence) -> Iterator[Finding]:
    """Q01-Q06 from the calibration samples that were handed over."""
    seen = evidence.calibration
    if seen is None or not seen.usable:
        return
    values = seen.arrays[0].astype(np.float32)
    correlation, distinct = seen.neighbour_correlation, seen.distinct
    right = evidence.right_inputs[0] if evidence.right_inputs is not None else None
    if float(np.ptp(values)) < 1e-9:
        yield _finding("Q08", f"all {seen.count} calibration samples hold the one number {values.flat[0]:g}", 0.95)
        return
    if (found := _outlier(values)) is not None:
        yield _finding("Q06", found, 0.9)
        return
    natural = evidence_correlation(right)
    if (
        correlation is not None
        and correlation < NOISE_CORRELATION
        and (natural is None or natural > 2 * NOISE_CORRELATION)
    ):
        yield _finding(
            "Q03", f"neighbouring pixels of the calibration samples correlate by {correlation:.2f}: noise", 0.92
        )
    if right is not None and right.shape[1:] == values.shape[1:]:
        yield from _scale(values, right)
    if distinct < min(FEW_DISTINCT, max(seen.count, 2)) or distinct < FEW_DISTINCT:
        yield _finding("Q04", f"{seen.count} calibration samples, of which {distinct} are distinct", 0.85)
    elif (share := _largest_class(evidence)) is not None and share[1] > ONE_CLASS:
        yield _finding("Q04", f"{share[1]:.0%} of the calibration samples are of class {share[0]} for the model", 0.8)


def evidence_correlation(right: np.ndarray | None) -> float | None:
    from qat.diagnosis.calibration_set import CalibrationSet

    return None if right is None else CalibrationSet([right]).neighbour_correlation


def _scale(values: np.ndarray, right: np.ndarray) -> Iterator[Finding]:
    have, want = _limits(values), _limits(right)
    ratio = (have[1] - have[0]) / max(want[1] - want[0], 1e-12)
    said = f"calibration samples lie in [{have[0]:.4g}, {have[1]:.4g}], model inputs in [{want[0]:.4g}, {want[1]:.4g}]"
    if ratio > TOO_WIDE:
        yield _finding("Q01", said, 0.88)
    elif ratio < TOO_NARROW:
        other = preset_of(have, 0.05) in TRAINABLE and (ratio > MUCH_NARROWER or not _only_scaled(have, want))
        yield _finding("Q05" if other else "Q02", said, 0.88)
    elif abs(have[0] - want[0]) + abs(have[1] - want[1]) > 0.25 * (want[1] - want[0]):
        dimmed = abs(have[0] - want[0]) < 0.05 * (want[1] - want[0]) and preset_of(have, 0.05) is None
        yield _finding("Q02" if dimmed else "Q05", said, 0.75)
    elif values.ndim == 4 and values.shape[-1] == 3:
        means, wanted = values.mean((0, 1, 2)), right.mean((0, 1, 2))
        straight, swapped = np.abs(means - wanted).sum(), np.abs(means[::-1] - wanted).sum()
        if swapped < 0.5 * straight and straight > 0.03 * (want[1] - want[0]):
            yield _finding(
                "Q05",
                f"channel means of calibration {np.round(means, 3)}, of the inputs {np.round(wanted, 3)}: BGR",
                0.7,
            )


def _only_scaled(have: tuple[float, float], want: tuple[float, float]) -> bool:
    """Whether one range is a multiple of the other, without an offset."""
    return abs(have[0] / max(have[1] - have[0], 1e-12) - want[0] / max(want[1] - want[0], 1e-12)) < 0.15


def _limits(values: np.ndarray) -> tuple[float, float]:
    return float(np.percentile(values, 0.1)), float(np.percentile(values, 99.9))


def _outlier(values: np.ndarray) -> str | None:
    largest = np.abs(values.reshape(len(values), -1)).max(axis=1)
    typical = float(np.percentile(largest, 50))
    beyond = np.flatnonzero(largest > OUTLIER_RATIO * max(typical, 1e-12))
    if len(values) >= 20 and 0 < len(beyond) <= max(1, 0.03 * len(values)):
        return (
            f"{len(beyond)} of {len(values)} calibration samples (the first is number {beyond[0]}) reach "
            f"{largest[beyond].max():.4g}, the others {typical:.4g}: they alone widen every range"
        )
    return None


def _largest_class(evidence: Evidence) -> tuple[int, float] | None:
    if evidence.keras is None or not evidence.classifies or evidence.calibration is None:
        return None
    from qat.diagnosis.running import run_keras

    arrays = [a[:200].astype(np.float32) for a in evidence.calibration.arrays]
    if not fits(arrays, evidence.case.graph):
        return None
    scores = run_keras(evidence.keras, arrays)[0]
    if scores.ndim != 2 or scores.shape[1] < 3:
        return None
    counts = np.bincount(scores.argmax(axis=1), minlength=scores.shape[1])
    usual = (
        np.bincount(evidence.a0[0].argmax(axis=1), minlength=scores.shape[1]) if evidence.a0 is not None else counts * 0
    )
    if usual.max() > ONE_CLASS * max(usual.sum(), 1):
        return None  # this model says so of everything
    return int(counts.argmax()), float(counts.max() / counts.sum())


def from_ranges(evidence: Evidence) -> Iterator[Finding]:
    """Q01-Q09 from what calibration left in the file; the nearest guess names it."""
    yield from _input_order(evidence)
    limits, want = evidence.facts.input_range, evidence.right_limits
    guesses = ranked_guesses(evidence)
    best = guesses[0] if guesses else None
    right = next((g.distance for g in guesses if not g.id), np.inf)
    said = "" if best is None else _said(best, right)
    if limits is not None and want is not None:
        yield from _input_range(evidence, limits, want, best, said)
    if best is not None and best.id and best.distance < 0.8 * right:
        yield _finding(best.id, said, 0.7)
    yield _finding("Q09", f"the file's ranges do not fit the inputs given ({said or 'no guess explains them'})", 0.2)


def _said(best: Guess, right: float) -> str:
    words = best.words or "real samples"
    return (
        f"of all guesses, {words} would leave ranges nearest to the file's ({in_times(best.distance)} apart on "
        f"average; right samples: {in_times(right)})"
    )


def _input_range(evidence: Evidence, limits, want, best: Guess | None, said: str) -> Iterator[Finding]:
    ratio = (limits[1] - limits[0]) / max(want[1] - want[0], 1e-12)
    values = evidence.right_inputs[0]
    slack = 0.01 * (limits[1] - limits[0])
    clipped = float(np.mean((values < limits[0] - slack) | (values > limits[1] + slack)))
    preset = preset_of(limits)
    text = (
        f"the file's input holds [{limits[0]:.4g}, "
        f"{limits[1]:.4g}]{_also(preset)}; the right "
        f"inputs lie in [{want[0]:.4g}, {want[1]:.4g}]: {min(1 / ratio, 1):.1%} of the range is "
        f"used, {clipped:.1%} clipped"
    )
    text += f"; {said}" if said else ""
    noisy = best is not None and best.id == "Q03" and best.distance < 0.35
    if ratio > TOO_WIDE and not noisy:
        known = preset is not None or _is_raw(evidence, limits)
        known = known or (best is not None and best.id == "Q01" and best.distance < 0.4)
        yield _finding("Q01" if known else "Q06", text, 0.9)
        yield _finding("Q06" if known else "Q01", text, 0.3)
    elif clipped > CLIPPED and not noisy:
        other = preset in TRAINABLE and (ratio > MUCH_NARROWER or not _only_scaled(limits, want))
        other = other or (best is not None and best.id == "Q05" and best.distance < 0.3)
        few = best is not None and best.id == "Q04" and best.distance < 0.45 and ratio > 0.5
        yield _finding("Q04" if few else "Q05" if other else "Q02", text, 0.9)


def _also(preset: str | None) -> str:
    """The preset's name, where it is more than its limits."""
    return "" if preset is None or preset.startswith("[") else f", that is {preset}"


def _is_raw(evidence: Evidence, limits: tuple[float, float]) -> bool:
    """Whether the file's input just holds the samples as the app has them."""
    raw = evidence.case.inputs
    if raw is None or raw[0].size != evidence.right_inputs[0][0].size:
        return False
    low, high = min(float(raw.min()), 0.0), max(float(raw.max()), 0.0)
    slack = 0.3 * max(high - low, 1e-12)
    return abs(limits[0] - low) < slack and abs(limits[1] - high) < slack


def _input_order(evidence: Evidence) -> Iterator[Finding]:
    """Q07: ranges of inputs that fit each other's data."""
    params, arrays = evidence.facts.input_params, evidence.right_inputs
    if arrays is None or len(arrays) < 2 or any(p is None for p in params):
        return
    order = evidence.file.input_order
    have = [params[place].real_limits for place in order]
    want = [(min(float(a.min()), 0.0), max(float(a.max()), 0.0)) for a in arrays]

    def misfit(pairs) -> float:
        return sum(abs(np.log2(max(h[1] - h[0], 1e-9) / max(w[1] - w[0], 1e-9))) for h, w in pairs)

    straight = misfit(zip(have, want, strict=True))
    rotated = min(misfit(zip(have, want[i:] + want[:i], strict=True)) for i in range(1, len(want)))
    if len(want) == 2 and rotated < 0.3 * straight and straight > 2:
        ranges = "; ".join(f"input {i}: calibrated [{h[0]:.3g}, {h[1]:.3g}], data [{w[0]:.3g}, {w[1]:.3g}]"
                           for i, (h, w) in enumerate(zip(have, want, strict=True)))  # fmt: skip
        yield Finding(
            "Q07", ranges,
            "yield a dictionary by input name, not a list, samples = {name: array}: converter.representative_dataset = "
            "lambda: ({name: rows[i : i + 1] for name, rows in samples.items()} for i in range(100))", 0.97,
            repair=Repair("model", _recalibrate),
        )  # fmt: skip


def _finding(id: str, evidence: str, strength: float) -> Finding:
    return Finding(id, evidence, FIX, strength, repair=Repair("model", _recalibrate))


def _recalibrate(recipe):
    from dataclasses import replace

    return replace(recipe, calibration="right")
