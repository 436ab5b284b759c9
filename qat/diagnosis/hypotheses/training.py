"""T: what quantization-aware training leaves in a file."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qat.diagnosis.catalogue import LOADED_FIRST, QUANTIZE_CALIBRATED, SLOWER, format_verify_command
from qat.diagnosis.engine import Hypothesis, make_certain
from qat.diagnosis.file_facts import TFMOT_DECAY, TFMOT_START, UNSET_SCALE, FileFacts

ENOUGH_STEPS = 4600
SURELY_TOO_FEW = 20  # below it the file is proof enough, whatever is measured
PROBABLY_TOO_FEW = 150  # below it the file alone is, where nothing was measured; above it a loss must be
INITIAL_SCALE = 12 / 255
LITTLE_LEFT = 0.02  # of the range that the moving mean started with
SCRATCH, GROWN = 0.35, 2.0  # cosine of kernels of another start; growth of kernels by too large steps
MANY_FLOAT = 0.1  # share of the ops

RANDOM = frozenset({"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"})
FLOAT_BY_DESIGN = RANDOM | {
    "READ_VARIABLE",
    "TFLite_Detection_PostProcess",
    "NON_MAX_SUPPRESSION_V4",
    "NON_MAX_SUPPRESSION_V5",
}


def find_unrun_training(facts: FileFacts) -> Iterator[Hypothesis]:
    """T02: every activation still has the range that tfmot starts with."""
    scales = [t.scales[0] for t in facts.rectified]
    inputs = [float(p.scale[0]) for p in facts.input_params if p is not None]
    untouched = len(scales) > 0 and all(abs(s - INITIAL_SCALE) < 1e-4 for s in scales)
    degenerate = any(UNSET_SCALE[0] < s < UNSET_SCALE[1] for s in inputs)
    if untouched or (degenerate and facts.trained_quantized):
        steps = facts.steps_of_ranges
        if not degenerate and steps is not None and steps >= 2:
            return
        seen = f"all {len(scales)} ReLU outputs have the range [-6, 6] (scale 12/255)" if untouched else ""
        seen += f"{' and ' if seen else ''}the input scale is {inputs[0]:.2g}" if degenerate else ""
        yield make_certain(
            "T02",
            f"{seen}: no training step ever ran through the quantizers",
            "fit the quantize_model() for a few epochs before converting (compile it again first), take post-training "
            f"quantization, or calibrate its ranges: {QUANTIZE_CALIBRATED}",
        )


def find_unsettled_ranges(facts: FileFacts) -> Iterator[Hypothesis]:
    """T01: post-ReLU ranges that still reach below 0, by -6 * 0.999^steps."""
    steps = facts.steps_of_ranges
    if steps is None or next(find_unrun_training(facts), None) is not None:
        return
    left = TFMOT_DECAY**steps
    lowest = -TFMOT_START * left
    yield Hypothesis(
        "T01",
        f"{len(facts.rectified)} ReLU outputs can hold numbers down to {lowest:.2f}, where nothing is below 0: the "
        f"moving mean started at -6 and saw about {steps:.0f} steps; {left:.0%} of the start is left",
        f"train about {max(ENOUGH_STEPS - math.floor(steps), 0)} steps more ({ENOUGH_STEPS} in all leave 1 %), or set "
        f"the ranges from data before training: {QUANTIZE_CALIBRATED}",
        0.95 if steps < PROBABLY_TOO_FEW else 0.5,
        certain=steps < PROBABLY_TOO_FEW,
        harmless=left < LITTLE_LEFT,
        needs_loss=steps >= SURELY_TOO_FEW,
    )  # fmt: skip


def find_float_ops(facts: FileFacts) -> Iterator[Hypothesis]:
    """T05: float ops left inside an integer body."""
    floats = [op for op in facts.float_ops if op.label not in FLOAT_BY_DESIGN]
    if facts.scheme in ("int8", "int16x8") and floats and facts.integer_ops:
        names = ", ".join(sorted({op.label for op in floats}))
        share = len(floats) / max(len(floats) + len(facts.integer_ops), 1)
        origin = (
            "QAT left layers unannotated"
            if facts.trained_quantized
            else "they were left in float (quant.skip), or have no integer kernel"
        )
        yield Hypothesis(
            "T05",
            f"{len(floats)} ops compute in float inside an integer file ({names}): {origin}",
            "annotate these layers with a QuantizeConfig, put BatchNormalization right behind its "
            f"convolution, or replace the op; what names each: {format_verify_command()}",
            0.6 if facts.trained_quantized and share > MANY_FLOAT else 0.2,
            harmless=not (facts.trained_quantized and share > MANY_FLOAT),
        )  # fmt: skip


def find_float_layers(facts: FileFacts, expect: str | None) -> Iterator[Hypothesis]:
    """T05 where integers were promised: weighted layers that training left in float.

    Args:
        facts: what was read of the file: its ops, weights and kind.
        expect: what the file is believed to be, as "int8"; None where nothing was said.

    Returns:
        At most one hypothesis, certain.
    """
    floats = [op for op, weight in facts.weights if weight.is_float and op in facts.float_ops]
    if expect == "int8" and facts.scheme == "int8" and facts.trained_quantized and floats:
        named = ", ".join(facts.weight(op).layer for op in floats[:4])
        yield make_certain(
            "T05",
            f"int8 was meant; {len(floats)} of {len(facts.weights)} weighted layers compute in float ({named}): the "
            "training with quantization left them out",
            "annotate these layers with a QuantizeConfig (quantize_annotate_layer), or put BatchNormalization right "
            f"behind its convolution; what names each: {format_verify_command()}",
        )


def describe_other_start(cosine: float, growth: float | None, text: str) -> Hypothesis:
    """T03, T04: quantization-aware training that began elsewhere, or went far away.

    Args:
        cosine: |cosine| between the file's kernels and the Keras model's, 0-1, the median over layers.
        growth: factor by which the kernels of that layer are larger which grew most; None where that is not known.
        text: clause that has both numbers in words.

    Returns:
        The hypothesis; certain where only one of them leaves such kernels.
    """
    blown_up = growth is not None and growth > GROWN
    if cosine < SCRATCH and not blown_up:
        words = f"{text}: quantization-aware training did not start from these float weights"
        return Hypothesis("T03", words, LOADED_FIRST, 0.95, certain=True)
    size = f", and made kernels up to {growth:.1f} times as large" if blown_up else ""
    words = f"{text}: the training with quantization has moved the weights far away{size}"
    return Hypothesis("T04", words, SLOWER, 0.9 if blown_up else 0.8, certain=blown_up)


FROM_FILE_ALONE = (find_unrun_training, find_unsettled_ranges, find_float_ops)
