"""Q: what the calibration samples were, told by the samples themselves or by the ranges that they left."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.case import neighbour_correlation
from qat.diagnosis.catalogue import CALIBRATE
from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.file_facts import UNSET_SCALE, FileFacts
from qat.diagnosis.hypotheses import structure
from qat.diagnosis.hypotheses.ranges import FITS, Guess, format_octaves, range_distance, rank_guesses
from qat.diagnosis.normalisations import TRAINED_RANGES, name_range
from qat.diagnosis.runs import run_keras
from qat.diagnosis.tensor_order import fit_file

CONSTANT_SCALE = 1e-7
FEW_DISTINCT = 20
NOISE_CORRELATION = 0.3
OUTLIER_RATIO = 4.0  # of an outlier's largest value to the typical one
FEW_OUTLIERS, OUTLIER_SAMPLES = 0.03, 20  # share of the samples at most; of so many at least
TOO_WIDE, TOO_NARROW, MUCH_NARROWER, HALF_AS_WIDE = 3.0, 1 / 3, 1 / 8, 1 / 2  # times the right range
MOVED, MOVED_AT_ZERO = 0.25, 0.05  # of the ends of a range, as a share of its width
ABOUT = 0.05  # tolerance of a usual range that samples fill by chance
SCALED = 0.15  # by which the zero of two ranges may differ, as a share of their width
CLIPPED = 0.01
ONE_CLASS = 0.6  # share of the calibration samples that the model takes for one class
CLASS_SAMPLES = 200
NEARER = 0.8  # of the right samples' distance, below which a guess explains the ranges better
EXPLAINS = 1.0  # octaves, beyond which no guess of the file's own input range explains the ranges behind it
NEAR = {"Q01": 0.4, "Q03": 0.35, "Q04": 0.45, "Q05": 0.3}  # octaves within which a guess settles what it is
EXCHANGED, APART = 0.3, 0.5  # share of the distance that an exchange leaves, of a distance in octaves at least
BGR_MEANS, BGR_APART = 0.5, 0.03  # share of the distance that reversed channel means leave, of one of so much
BY_INPUT_NAME = (
    "yield a dictionary by input name, not a list, samples = {name: array}: converter.representative_dataset = "
    "lambda: ({name: rows[i : i + 1] for name, rows in samples.items()} for i in range(100))"
)


def find_constant(facts: FileFacts) -> Iterator[Hypothesis]:
    """Q08: an input scale that only zeros leave."""
    for params, tensor in zip(facts.input_params, facts.graph.inputs, strict=True):
        if params is None:
            continue
        scale = float(params.scale[0])
        if scale < CONSTANT_SCALE and not (UNSET_SCALE[0] < scale < UNSET_SCALE[1] and facts.trained_quantized):
            yield Hypothesis(
                "Q08",
                f"the scale of input {tensor.name.split(':')[0]!r} is {scale:.2g}: calibration saw nothing but zeros",
                CALIBRATE, 1.0, certain=True, needs_loss=False, repair=recalibrate,
            )  # fmt: skip


def recalibrate(conversion):
    """The repair of this family: calibrated by right inputs."""
    return replace(conversion, calibration="right")


def name_calibration(evidence: Evidence) -> list[Hypothesis]:
    """What calibration was, likeliest first; never empty."""
    by_order = list(find_exchanged_inputs(evidence))
    by_samples = [] if by_order else sorted(judge_samples(evidence), key=lambda each: -each.strength)
    return by_order or by_samples or sorted(judge_ranges(evidence), key=lambda each: -each.strength)


def judge_samples(evidence: Evidence) -> Iterator[Hypothesis]:
    """Q01-Q06 from the calibration samples that were handed over."""
    samples = evidence.calibration
    if samples is None or not samples.usable:
        return
    values = samples.arrays[0].astype(np.float32)
    if float(np.ptp(values)) < 1e-9:
        yield _hypothesis(
            "Q08", f"all {samples.count} calibration samples hold the one number {values.flat[0]:g}", 0.95
        )
        return
    if (words := _outlier(values)) is not None:
        yield _hypothesis("Q06", words, 0.9)
        return
    right = evidence.right_inputs[0] if evidence.right_inputs is not None else None
    correlation, natural = (None if each is None else neighbour_correlation(each) for each in (values, right))
    unlike = natural is None or natural > 2 * NOISE_CORRELATION
    if correlation is not None and correlation < NOISE_CORRELATION and unlike:
        words = f"neighbouring pixels of the calibration samples correlate by {correlation:.2f}: noise"
        yield _hypothesis("Q03", words, 0.92)
    scaled = list(_scale(values, right)) if right is not None and right.shape[1:] == values.shape[1:] else []
    yield from scaled
    distinct = samples.distinct
    if distinct < FEW_DISTINCT:
        yield _hypothesis("Q04", f"{samples.count} calibration samples, of which {distinct} are distinct", 0.85)
    elif not scaled and (largest := _largest_class(evidence)) is not None and largest[1] > ONE_CLASS:
        label, share = largest
        yield _hypothesis("Q04", f"{share:.0%} of the calibration samples are of class {label} for the model", 0.8)


def _scale(values: NDArray, right: NDArray) -> Iterator[Hypothesis]:
    have, want = _limits(values), _limits(right)
    width = want[1] - want[0]
    ratio = (have[1] - have[0]) / max(width, 1e-12)
    words = f"calibration samples lie in [{have[0]:.4g}, {have[1]:.4g}], model inputs in [{want[0]:.4g}, {want[1]:.4g}]"
    about = name_range(have, ABOUT)
    if ratio > TOO_WIDE:
        yield _hypothesis("Q01", words, 0.88)
    elif ratio < TOO_NARROW:
        other = about in TRAINED_RANGES and (ratio > MUCH_NARROWER or not _only_scaled(have, want))
        yield _hypothesis("Q05" if other else "Q02", words, 0.88)
    elif abs(have[0] - want[0]) + abs(have[1] - want[1]) > MOVED * width:
        dimmed = abs(have[0] - want[0]) < MOVED_AT_ZERO * width and about is None
        yield _hypothesis("Q02" if dimmed else "Q05", words, 0.75)
    elif values.ndim == 4 and values.shape[-1] == 3:
        means, expected = values.mean((0, 1, 2)), right.mean((0, 1, 2))
        straight, reversed_ = np.abs(means - expected).sum(), np.abs(means[::-1] - expected).sum()
        if reversed_ < BGR_MEANS * straight and straight > BGR_APART * width:
            words = f"channel means of calibration {np.round(means, 3)}, of the inputs {np.round(expected, 3)}: BGR"
            yield _hypothesis("Q05", words, 0.7)


def _only_scaled(have: tuple[float, float], want: tuple[float, float]) -> bool:
    """Whether one range is a multiple of the other, without an offset."""
    return abs(have[0] / max(have[1] - have[0], 1e-12) - want[0] / max(want[1] - want[0], 1e-12)) < SCALED


def _limits(values: NDArray) -> tuple[float, float]:
    return float(np.percentile(values, 0.1)), float(np.percentile(values, 99.9))


def _outlier(values: NDArray) -> str | None:
    largest = np.abs(values.reshape(len(values), -1)).max(axis=1)
    typical = float(np.percentile(largest, 50))
    beyond = np.flatnonzero(largest > OUTLIER_RATIO * max(typical, 1e-12))
    if len(values) >= OUTLIER_SAMPLES and 0 < len(beyond) <= max(1, FEW_OUTLIERS * len(values)):
        return (
            f"{len(beyond)} of {len(values)} calibration samples (the first is number {beyond[0]}) reach "
            f"{largest[beyond].max():.4g}, the others {typical:.4g}: they alone widen every range"
        )
    return None


def _largest_class(evidence: Evidence) -> tuple[int, float] | None:
    if evidence.keras is None or not evidence.classifies or evidence.calibration is None:
        return None
    arrays = [a[:CLASS_SAMPLES].astype(np.float32) for a in evidence.calibration.arrays]
    if not fit_file(arrays, evidence.case.graph):
        return None
    scores = run_keras(evidence.keras, arrays)[0]
    if scores.ndim != 2 or scores.shape[1] < 3:
        return None
    counts = np.bincount(scores.argmax(axis=1), minlength=scores.shape[1])
    right = evidence.keras_outputs
    usual = counts * 0 if right is None else np.bincount(right[0].argmax(axis=1), minlength=scores.shape[1])
    if usual.max() > ONE_CLASS * max(usual.sum(), 1):
        return None  # the model puts nearly all inputs into one class anyway
    return int(counts.argmax()), float(counts.max() / counts.sum())


def find_exchanged_inputs(evidence: Evidence) -> Iterator[Hypothesis]:
    """Q07: the ranges of inputs of one shape fit each other's data, and not their own."""
    params, arrays = evidence.facts.input_params, evidence.right_inputs
    if arrays is None or len(arrays) < 2 or any(each is None for each in params):
        return
    have = [params[index].real_limits for index in evidence.file.input_order]
    want = [(min(float(a.min()), 0.0), max(float(a.max()), 0.0)) for a in arrays]

    def distance(order: tuple[int, ...]) -> float:
        same_shapes = all(arrays[i].shape == arrays[j].shape for i, j in enumerate(order))
        return sum(range_distance(have[i], want[j]) for i, j in enumerate(order)) if same_shapes else np.inf

    own, *others = itertools.permutations(range(len(arrays)))
    best = min(others, key=distance)
    if distance(own) > APART and distance(best) < EXCHANGED * distance(own):
        ranges = "; ".join(
            f"input {i}: calibrated [{h[0]:.3g}, {h[1]:.3g}], data [{w[0]:.3g}, {w[1]:.3g}]"
            for i, (h, w) in enumerate(zip(have, want, strict=True))
        )
        yield Hypothesis("Q07", ranges, BY_INPUT_NAME, 0.97, repair=recalibrate)


def judge_ranges(evidence: Evidence) -> Iterator[Hypothesis]:
    """Q01-Q09 from what calibration left in the file; the nearest guess names it. C12 where none does."""
    guesses = rank_guesses(evidence)
    right = next((g for g in guesses if not g.id), None)
    same_range = right is not None and right.at_inputs < FITS  # then what it was calibrated on has it, too
    if same_range:
        guesses = [each for each in guesses if each.at_inputs < FITS]
    best = guesses[0] if guesses else None
    apart = np.inf if right is None else right.distance
    words = "" if best is None else _in_words(best, apart)
    for index in range(len(evidence.case.graph.inputs)):
        yield from _input_range(evidence, index, best, words)
    farthest = min(NEARER * apart, EXPLAINS) if same_range else NEARER * apart
    differences = structure.describe_other_ops(evidence)
    outsiders = None if right is None else right.find_outsiders()
    if best is not None and best.id and best.distance < farthest:
        doubtful = best.id == "Q04" and bool(differences)  # of many single samples, one is always near
        fix = BY_INPUT_NAME if best.id == "Q07" else CALIBRATE
        yield Hypothesis(best.id, words, fix, 0.1 if doubtful else 0.7, repair=recalibrate)
    if differences or outsiders is not None:
        yield structure.describe_other_conversion(evidence, differences, outsiders)
    else:
        words = f"the file's ranges do not fit the inputs given ({words or 'no guess matches them'})"
        yield _hypothesis("Q09", words, 0.2)


def _in_words(best: Guess, right: float) -> str:
    return (
        f"of all guesses, {best.words} would leave ranges nearest to the file's ({format_octaves(best.distance)} apart "
        f"on average; right samples: {format_octaves(right)})"
    )


def _input_range(evidence: Evidence, index: int, best: Guess | None, words: str) -> Iterator[Hypothesis]:
    """Q01, Q02, Q04-Q06: the range of one input of the file, against the right inputs."""
    params = evidence.facts.input_params[index]
    if params is None or evidence.right_inputs is None:
        return
    limits, values = params.real_limits, evidence.right_inputs[evidence.file.input_order.index(index)]
    want = float(values.min()), float(values.max())
    ratio = (limits[1] - limits[0]) / max(want[1] - want[0], 1e-12)
    slack = 0.01 * (limits[1] - limits[0])
    clipped = float(np.mean((values < limits[0] - slack) | (values > limits[1] + slack)))
    name = name_range(limits)
    which = (
        "input"
        if len(evidence.right_inputs) == 1
        else f"input {evidence.case.graph.inputs[index].name.split(':')[0]!r}"
    )
    text = (
        f"the file's {which} holds [{limits[0]:.4g}, {limits[1]:.4g}]{_also(name)}; the right inputs lie in "
        f"[{want[0]:.4g}, {want[1]:.4g}]: {min(1 / ratio, 1):.1%} of the range is used, {clipped:.1%} clipped"
    )
    text += f"; {words}" if words else ""
    near = best.id if best is not None and best.distance < NEAR.get(best.id, 0.0) else ""
    if near == "Q03":
        return
    if ratio > TOO_WIDE:
        known = name is not None or _is_raw(evidence, limits) or near == "Q01"
        yield _hypothesis("Q01" if known else "Q06", text, 0.9)
        yield _hypothesis("Q06" if known else "Q01", text, 0.3)
    elif clipped > CLIPPED:
        other = name in TRAINED_RANGES and (ratio > MUCH_NARROWER or not _only_scaled(limits, want))
        few = near == "Q04" and ratio > HALF_AS_WIDE
        yield _hypothesis("Q04" if few else "Q05" if other or near == "Q05" else "Q02", text, 0.9)


def _also(name: str | None) -> str:
    """The range's name, where it is more than its limits."""
    return "" if name is None or name.startswith("[") else f", that is {name}"


def _is_raw(evidence: Evidence, limits: tuple[float, float]) -> bool:
    """Whether the file's input just holds the samples as the app has them."""
    raw = evidence.case.inputs
    if raw is None or raw[0].size != evidence.right_inputs[0][0].size:
        return False
    low, high = min(float(raw.min()), 0.0), max(float(raw.max()), 0.0)
    slack = 0.3 * max(high - low, 1e-12)
    return abs(limits[0] - low) < slack and abs(limits[1] - high) < slack


def _hypothesis(id: str, evidence: str, strength: float) -> Hypothesis:
    return Hypothesis(id, evidence, CALIBRATE, strength, repair=recalibrate)
