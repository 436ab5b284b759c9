"""A file and its Keras model, and no data: what BatchNorm statistics and synthetic images can still say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.engine import Findings, Hypothesis
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.hypotheses.calibrated_ranges import format_octaves
from qat.diagnosis.hypotheses.calibration import FIX
from qat.diagnosis.hypotheses.model import find_hard_activations
from qat.diagnosis.normalisations import LIMITS, name_range
from qat.diagnosis.runs import Conversion, run_keras
from qat.diagnosis.score import Outputs, worst_sqnr_db
from qat.metrics import sqnr_db

CANDIDATES = ("[0, 1]", "[-1, 1]", "[0, 255]", "ImageNet mean/std")
FACTOR = 8.0  # between the file's input range and the range that BatchNorm remembers
OCTAVES = 3.0  # by which one range must fit the statistics better than the other
SAMPLES = 32
POOR_DB = 14.0  # of the file itself
HOPELESS_DB, FINE_DB = 5.0, 18.0  # of the best int8 file, and of an int16x8 file


def diagnose_without_data(evidence: Evidence, findings: Findings) -> None:
    """Adds causes to `findings`; what is found on synthetic images is never more than consistent.

    Args:
        evidence: of a case with a Keras model and without inputs.
        findings: gets causes and a note.
    """
    images = make_natural_images(evidence.keras, SAMPLES)
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
        model: with one input [height, width, 1 or 3].
        count: N.

    Returns:
        float32 [N, height, width, channels] in [0, 1]; None for a model that takes no images.
    """
    shape = model.inputs[0].shape.as_list()[1:] if len(model.inputs) == 1 else []
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
    import tf_keras

    norm = next((layer for layer in model.layers if isinstance(layer, tf_keras.layers.BatchNormalization)), None)
    if norm is None or isinstance(norm.input, list):
        return None, {}
    before = tf_keras.Model(model.inputs, norm.input)
    variance, mean = np.asarray(norm.moving_variance), np.asarray(norm.moving_mean)
    if float(np.abs(variance - 1).max()) < 1e-3 and float(np.abs(mean).max()) < 1e-3:
        return None, {}  # never trained
    misfit = {}
    for name in CANDIDATES:
        values = run_keras(before, [scale_images(images, name)])[0].reshape(-1, len(mean))
        octaves = np.abs(np.log2((values.var(axis=0) + 1e-9) / (variance + 1e-9)))
        shift = np.abs(values.mean(axis=0) - mean) / np.sqrt(variance + 1e-9)
        misfit[name] = float(np.median(octaves) + np.median(np.minimum(shift, 8)))
    best = min(misfit, key=misfit.get)
    return (best if misfit[best] < 3 else None), misfit


def scale_images(images: NDArray, preset: str) -> NDArray:
    """Images in another usual range.

    Args:
        images: float [N, ...] in [0, 1].
        preset: a key of `LIMITS`.

    Returns:
        float32, same shape.
    """
    low, high = LIMITS[preset]
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
        f"the file's input holds [{have[0]:.4g}, {have[1]:.4g}], but the statistics in the model's "
        "first BatchNormalization "
        f"are those of inputs in {trained} (judged with synthetic images: {format_octaves(misfit[trained] / 2)} apart)",
        FIX, 0.9,
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
    low, high = LIMITS[trained] if trained else have
    values = [(low + (high - low) * images).astype(np.float32)]
    synthetic = Evidence(replace(evidence.case, inputs=values[0], labels=None, preprocess=None))
    reference = synthetic.a0
    good, wide = synthetic.convert_and_run(Conversion()), synthetic.convert_and_run(Conversion(scheme="int16x8"))
    if good is None or wide is None:
        return
    own, best, finest = (_quality_db(synthetic, reference, outputs) for outputs in (synthetic.a2, good, wide))
    if own < POOR_DB and best < HOPELESS_DB and finest > FINE_DB:
        first = find_hard_activations(synthetic)[0]
        words = (
            f"on synthetic images the file keeps {own:.1f} dB, the best int8 file {best:.1f} dB, an int16x8 file "
            f"{finest:.1f} dB; {first.evidence}"
        )
        findings.add(replace(first, evidence=words), certainty="consistent")
