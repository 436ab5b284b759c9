"""Are the file's weights the Keras model's, and if not, whose? C07, T03, T04."""

from __future__ import annotations

import numpy as np

from qat.diagnosis.diagnosis import Finding
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.facts import Facts
from qat.diagnosis.fixes import MEASURED_FIRST, SLOWER
from qat.diagnosis.making import Recipe
from qat.diagnosis.weights import growth, layer_cosines, strangers
from qat.tflite import read

OTHER_WEIGHTS, SCRATCH, SAME_WEIGHTS = 0.6, 0.35, 0.97
MANY = 3  # layers without a partner that are no accident of conversion
GROWN = 2.0  # kernels that a training with too large steps has blown up


def wrong_weights(evidence: Evidence) -> Finding | None:
    """C07, T03, T04: kernels that are not the Keras model's."""
    cosines = layer_cosines(evidence.facts, evidence.keras)
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
            f"convert the model that was loaded from the checkpoint, and measure it right before: {MEASURED_FIRST}",
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
            f"load the trained weights before quantize_model(), and measure: {MEASURED_FIRST}", 0.95, certain=True,
        )  # fmt: skip
    size = f", and made them {grown:.1f} times as large" if blown_up else ""
    return Finding(
        "T04", f"{text}: the training with quantization has moved the weights far away{size}",
        SLOWER, 0.9 if blown_up else 0.8, certain=blown_up,
    )  # fmt: skip
