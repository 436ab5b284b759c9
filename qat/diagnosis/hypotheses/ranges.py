"""Which inputs are a file's ranges made for? Each guess runs through a float file; without data BatchNorm tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.catalogue import CALIBRATE
from qat.diagnosis.engine import Findings, Hypothesis
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.file_facts import FileFacts
from qat.diagnosis.hypotheses.model import find_hard_activations
from qat.diagnosis.normalisations import LIMITS, list_normalisations, name_range, normalise, reshape_like
from qat.diagnosis.runs import Conversion, run_keras
from qat.diagnosis.score import FAULT_DB, Outputs, worst_sqnr_db
from qat.metrics import sqnr_db
from qat.models.which_keras import keras_of
from qat.tflite import read
from qat.tflite.runtime.child_process import make_runtime

SAMPLES = 64
FARTHEST = 3.0  # octaves
SAME, NEAR, FAR, FEW = 0.2, 0.5, 2.0, 1 / 4  # octaves between ranges; share of tensors that may be far at most
FITS = 0.35  # octaves between the file's input range and that of given samples, which are then of the same range
WIDER, NARROWER = 3.5, 1 / 8  # than the right inputs: what is too wide, what too narrow, and not another normalisation
FIXED = frozenset({"SOFTMAX", "LOGISTIC", "TANH", "L2_NORMALIZATION", "LOG_SOFTMAX"})
CANDIDATES = ("[0, 1]", "[-1, 1]", "[0, 255]", "ImageNet mean/std")
FACTOR = 8.0  # between the file's input range and the range that BatchNorm remembers
OCTAVES = 3.0  # by which one range must fit the statistics better than the other
IMAGES = 32
HOPELESS_DB, FINE_DB = 5.0, 18.0  # of the best int8 file, and of an int16x8 file


@dataclass(frozen=True)
class Guess:
    id: str
    words: str
    samples: list[NDArray]
    distance: float = np.inf  # octaves, mean over tensors
    at_inputs: float = np.inf  # octaves, the farthest input
    apart: dict[int, float] = field(default_factory=dict)  # octaves of each tensor, by index in the file

    def find_outsiders(self) -> list[int] | None:
        """Tensors whose ranges are far from the guess's, where nearly all others' are near; else None."""
        far = [index for index, octaves in self.apart.items() if octaves > FAR]
        rest = [octaves for index, octaves in self.apart.items() if index not in far]
        if not rest or len(far) > FEW * len(self.apart):
            return None
        return far if np.mean(rest) < (NEAR if far else SAME) else None


def rank_guesses(evidence: Evidence) -> list[Guess]:
    """Guesses by distance between their ranges and the file's, nearest first; empty where they cannot be compared."""
    content = evidence.content(Conversion(scheme="float32"))
    if content is None or evidence.right_inputs is None:
        return []
    graph = read(content)
    pairs = pair_tensors(evidence.facts, FileFacts(graph), evidence.file.input_order)
    if len(pairs) < 2:
        return []
    runtime = make_runtime(content, graph, keep_tensors=True)
    file_ranges = evidence.facts.activation_ranges
    inputs = {tensor.index for tensor in evidence.case.graph.inputs}
    guesses = []
    for guess in _guesses(evidence):
        ranges = {i: (float(v.min()), float(v.max())) for i, v in runtime.tensors(guess.samples).items() if v.size}
        apart = {a: range_distance(file_ranges[a], ranges[b]) for a, b in pairs if a in file_ranges and b in ranges}
        at_inputs = max((octaves for index, octaves in apart.items() if index in inputs), default=np.inf)
        distance = float(np.mean(list(apart.values()))) if apart else np.inf
        guesses.append(replace(guess, distance=distance, at_inputs=at_inputs, apart=apart))
    return sorted(guesses, key=lambda g: g.distance)


def pair_tensors(quantized: FileFacts, real: FileFacts, order: Sequence[int]) -> list[tuple[int, int]]:
    """Tensor indices of the two files that belong together: inputs, then outputs of equal ops in equal order.

    Args:
        quantized: facts of the user's file.
        real: facts of a float file that was converted here, its inputs in Keras order.
        order: number, in the quantized file, of each Keras input.

    Returns:
        Pairs (index in the quantized file, index in the float file); by tensor names where the ops differ.
    """
    first, second = quantized.computing, real.computing
    inputs = [(quantized.graph.inputs[i].index, t.index) for i, t in zip(order, real.graph.inputs, strict=False)]
    if [op.name for op in first] == [op.name for op in second]:
        return inputs + [
            (a.outputs[0], b.outputs[0]) for a, b in zip(first, second, strict=True) if a.name not in FIXED
        ]
    by_name = {t.name.split(";")[0]: t.index for t in real.graph.tensors if not t.is_constant}
    indices = [i for op in first if op.name not in FIXED for i in op.outputs]
    names = {i: quantized.graph.tensors[i].name.split(";")[0] for i in indices}
    return inputs + [(i, by_name[name]) for i, name in names.items() if name in by_name]


def format_octaves(octaves: float) -> str:
    """A distance of ranges in words.

    >>> format_octaves(1.5), format_octaves(3.0)
    ('2.8 times', '8 times or more')
    """
    return f"{2**octaves:.1f} times" if octaves < FARTHEST else f"{2**FARTHEST:.0f} times or more"


def range_distance(have: tuple[float, float], guess: tuple[float, float]) -> float:
    """How far two ranges of real numbers are apart: the factor between their widths, and the shift of their limits.

    Args:
        have: (min, max) of the real numbers that a file can hold.
        guess: (min, max) of the real numbers that occur; extended to include 0, as a calibration does.

    Returns:
        Distance in octaves, 0 to `FARTHEST`; a shift by half of the width counts a quarter of an octave.
    """
    low, high = min(guess[0], 0.0), max(guess[1], 0.0)
    width, other = max(have[1] - have[0], 1e-12), max(high - low, 1e-12)
    shift = (abs(have[0] - low) + abs(have[1] - high)) / max(width, other)
    return min(abs(float(np.log2(width / other))) + 0.5 * shift, FARTHEST)


def _guesses(evidence: Evidence) -> Iterator[Guess]:
    right = [a[:SAMPLES] for a in evidence.right_inputs]
    yield Guess("", "real, rightly preprocessed samples", right)
    if len(right) > 1:
        same = len({a.shape for a in right}) == 1
        if same:
            yield Guess("Q07", "the inputs in another order", right[::-1])
        return
    values = right[0]
    low, high = float(values.min()), float(values.max())
    rng = np.random.default_rng(0)
    yield from _other_scales(evidence, values)
    for words, noise in (
        (f"uniform noise in [{low:.3g}, {high:.3g}]", rng.uniform(low, high, values.shape)),
        ("uniform noise in [0, 1]", rng.uniform(0, 1, values.shape)),
        ("uniform noise in [-1, 1]", rng.uniform(-1, 1, values.shape)),
        ("normal noise", rng.normal(0, 1, values.shape)),
        ("uniform noise in [0, 255]", rng.uniform(0, 255, values.shape)),
    ):
        yield Guess("Q03", words, [noise.astype(np.float32)])
    yield from _few_samples(evidence)


def _other_scales(evidence: Evidence, values: NDArray) -> Iterator[Guess]:
    raw, width = reshape_like(evidence.case.inputs[:SAMPLES], values), float(values.max() - values.min())
    others: list[tuple[str, NDArray]] = []
    if raw is not None:
        others = [(f"samples as {name!r}", normalise(raw, name)) for name in list_normalisations(raw)]
        others = others or [("the raw samples", raw.astype(np.float32)), *_scaled_features(values)]
    for words, other in others:
        if not np.allclose(other, values, atol=1e-3 * max(width, 1e-6)):
            ratio = float(np.ptp(other.astype(np.float64))) / max(width, 1e-12)
            yield Guess("Q01" if ratio > WIDER else "Q02" if ratio < NARROWER else "Q05", words, [other])
    if values.ndim == 4 and values.shape[-1] == 3:
        yield Guess("Q05", "samples with red and blue exchanged", [np.ascontiguousarray(values[..., ::-1])])
    for factor in (255.0, 128.0):
        yield Guess("Q02", f"samples divided by {factor:g} again", [values / np.float32(factor)])
        yield Guess("Q01", f"samples multiplied by {factor:g}", [values * np.float32(factor)])
    for factor in (0.2, 0.35, 0.5):
        yield Guess("Q02", f"samples dimmed to {factor:g}", [values * np.float32(factor)])


def _scaled_features(values: NDArray) -> Iterator[tuple[str, NDArray]]:
    for words, axis in (("as a whole", None), ("each feature by itself", 0)):
        spread, width = values.std(axis=axis), np.ptp(values, axis=axis)
        yield f"samples standardised, {words},", (values - values.mean(axis=axis)) / np.maximum(spread, 1e-9)
        yield f"samples scaled to [0, 1], {words},", (values - values.min(axis=axis)) / np.maximum(width, 1e-9)


def _few_samples(evidence: Evidence) -> Iterator[Guess]:
    values, labels = evidence.right_inputs[0], evidence.case.labels
    if labels is None and evidence.keras_outputs is not None and evidence.classifies:
        labels = evidence.keras_outputs[0].argmax(axis=1)
    if labels is not None:
        for label in np.unique(labels)[:20]:
            chosen = values[labels == label][:SAMPLES]
            if len(chosen) >= 8:
                yield Guess("Q04", f"samples of class {label} alone", [chosen])
    for index in np.linspace(0, len(values) - 1, 6).astype(int):
        yield Guess("Q04", "a single sample", [values[index : index + 1]])


# ---- without data


def diagnose_without_data(evidence: Evidence, findings: Findings) -> None:
    """Adds causes to `findings`; what is found on synthetic images is never more than consistent.

    Args:
        evidence: what is known of a case without inputs; its Keras model should take images [N, height, width,
            channels].
        findings: the result so far; it gets causes and a note.
    """
    images = make_natural_images(evidence.keras, IMAGES)
    if images is None or len(evidence.case.graph.inputs) != 1:
        findings.notes.append(
            "no inputs were given: the file was read, not measured. Give data to test calibration and accuracy"
        )
        return
    trained, misfit = _trained_range(evidence.keras, images)
    if trained is not None and _input_range(evidence, findings, trained, misfit):
        return
    _hard_model(evidence, findings, images, trained)
    findings.notes.append("no inputs were given; ranges were judged by BatchNorm statistics and synthetic images")


def make_natural_images(model: Any, count: int) -> NDArray | None:
    """Noise with the spectrum of photographs (amplitude 1/f).

    Args:
        model: Keras model with one input [N, height, width, channels], of 1 or 3 channels.
        count: number of images, N.

    Returns:
        float32 [N, height, width, channels] in [0, 1]; None for a model that takes no images.
    """
    shape = list(model.inputs[0].shape)[1:] if len(model.inputs) == 1 else []
    if len(shape) != 3 or None in shape or shape[-1] not in (1, 3):
        return None
    height, width, channels = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    weight = 1 / np.maximum(frequency, 1 / max(height, width))
    rng = np.random.default_rng(0)
    grey = np.fft.ifft2(np.fft.fft2(rng.normal(size=(count, height, width))) * weight).real
    tint = np.fft.ifft2(np.fft.fft2(rng.normal(size=(count, channels, height, width))) * weight).real
    images = grey[..., None] + 0.3 * tint.transpose(0, 2, 3, 1)
    images = (images - images.mean()) / images.std() * 0.24 + 0.47
    return np.clip(images, 0, 1).astype(np.float32)


def _trained_range(model: Any, images: NDArray) -> tuple[str | None, dict[str, float]]:
    """The input range under which the first BatchNorm sees the statistics that it remembers, or None."""
    keras = keras_of(model)
    norm = next((layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)), None)
    if norm is None or isinstance(norm.input, list):
        return None, {}
    before = keras.Model(model.inputs, norm.input)
    variance, mean = np.asarray(norm.moving_variance), np.asarray(norm.moving_mean)
    if float(np.abs(variance - 1).max()) < 1e-3 and float(np.abs(mean).max()) < 1e-3:
        return None, {}  # never trained
    misfit = {}
    for name in CANDIDATES:
        values = run_keras(before, [scale_images(images, LIMITS[name])])[0].reshape(-1, len(mean))
        octaves = np.abs(np.log2((values.var(axis=0) + 1e-9) / (variance + 1e-9)))
        shift = np.abs(values.mean(axis=0) - mean) / np.sqrt(variance + 1e-9)
        misfit[name] = float(np.median(octaves) + np.median(np.minimum(shift, 8)))
    best = min(misfit, key=misfit.get)
    return (best if misfit[best] < 3 else None), misfit


def scale_images(images: NDArray, limits: tuple[float, float]) -> NDArray:
    """Images in another range.

    Args:
        images: float [N, ...] in [0, 1].
        limits: (min, max) that 0 and 1 become.

    Returns:
        float32 [N, ...] in `limits`.
    """
    low, high = limits
    return (low + (high - low) * images).astype(np.float32)


def _input_range(evidence: Evidence, findings: Findings, trained: str, misfit: dict[str, float]) -> bool:
    """Q01, Q02: the file was calibrated on a range that the model never saw in training."""
    have, want = evidence.facts.input_range, LIMITS[trained]
    if have is None:
        return False
    ratio = (have[1] - have[0]) / (want[1] - want[0])
    name = name_range(have)
    rival = name if name in misfit else None
    surely = rival is None or misfit[rival] > misfit[trained] + OCTAVES
    if 1 / FACTOR < ratio < FACTOR or not surely:
        return False
    hypothesis = Hypothesis(
        "Q01" if ratio > 1 else "Q02",
        f"the file's input holds [{have[0]:.4g}, {have[1]:.4g}], but the model's first BatchNormalization "
        f"has the statistics of inputs in {trained} (on synthetic images: {format_octaves(misfit[trained] / 2)} apart)",
        CALIBRATE, 0.9,
    )  # fmt: skip
    findings.add(hypothesis, certainty="consistent")
    return True


def _quality_db(evidence: Evidence, reference: Outputs, outputs: Outputs) -> float:
    """Scores are judged together: the noise of a class that never comes up says nothing."""
    if not evidence.classifies:
        return worst_sqnr_db(reference, outputs)
    return sqnr_db(reference[0], outputs[0])


def _hard_model(evidence: Evidence, findings: Findings, images: NDArray, trained: str | None) -> None:
    """M: even a file calibrated on the very images that it is measured on loses nearly all, and 16 bits do not."""
    have = evidence.facts.input_range
    if evidence.facts.scheme != "int8" or have is None:
        return
    values = scale_images(images, LIMITS[trained] if trained else have)
    synthetic = Evidence(replace(evidence.case, inputs=values, labels=None, preprocess=None))
    reference = synthetic.keras_outputs
    good, wide = synthetic.convert_and_run(Conversion()), synthetic.convert_and_run(Conversion(scheme="int16x8"))
    if good is None or wide is None:
        return
    own, best, finest = (_quality_db(synthetic, reference, outputs) for outputs in (synthetic.file_outputs, good, wide))
    if own < FAULT_DB and best < HOPELESS_DB and finest > FINE_DB:
        first = find_hard_activations(synthetic)[0]
        words = (
            f"on synthetic images the file keeps {own:.1f} dB, the best int8 file {best:.1f} dB, an int16x8 file "
            f"{finest:.1f} dB; {first.evidence}"
        )
        findings.add(replace(first, evidence=words), certainty="consistent")
