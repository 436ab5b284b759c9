"""M: what makes a model hard to quantize; asked after calibration and per-channel weights were excluded by repair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.codes import fake_quant, params_from_range
from qat.commands import command
from qat.diagnosis.diagnosis import Finding, Repair
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.fixes import WIDER
from qat.diagnosis.making import Recipe
from qat.diagnosis.running import FileRunner, run_keras
from qat.metrics import sqnr_db
from qat.tflite import read
from qat.tflite.runtime.child_process import make_runtime

TAIL_RATIO = 8.0  # largest value over the 99.9th percentile
SMALL_CHANNELS = 64.0  # widest channel over the narrowest that are alive
SAMPLES = 64
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional")


@dataclass(frozen=True)
class TensorNoise:
    """One activation of the float file, quantized alone to int8 by its own range."""

    name: str
    op: str
    low: float
    high: float
    tail_ratio: float
    channel_ratio: float
    small_channels: float  # widest channel over the 5th percentile of the channels
    sqnr_db: float
    channel_sqnr_db: float  # of the median channel


def activation_noise(evidence: Evidence) -> list[TensorNoise]:
    """Every float activation, worst first."""
    content = evidence.content(Recipe(scheme="float32"))
    if content is None or evidence.right_inputs is None:
        return []
    graph = read(content)
    runtime = make_runtime(content, graph, keep_tensors=True)
    values = runtime.tensors([a[:SAMPLES] for a in evidence.right_inputs])
    found = [
        _noise(graph.tensors[op.outputs[0]].name.split(";")[0], op.name, values[op.outputs[0]])
        for op in graph.ops
        if op.outputs[0] in values and values[op.outputs[0]].dtype == np.float32 and np.ptp(values[op.outputs[0]]) > 0
    ]
    evidence.noise_db = [(noise.name, noise.channel_sqnr_db) for noise in found]
    return sorted(found, key=lambda t: t.channel_sqnr_db)


def _noise(name: str, op: str, values: NDArray) -> TensorNoise:
    low, high = float(values.min()), float(values.max())
    grid = fake_quant(values, params_from_range(low, high))
    largest, usual = float(np.abs(values).max()), float(np.percentile(np.abs(values), 99.9))
    flat, coarse = values.reshape(-1, values.shape[-1]), grid.reshape(-1, values.shape[-1])
    spans = np.ptp(flat, axis=0)
    live = spans > 1e-6 * spans.max()
    each = [sqnr_db(flat[:, c], coarse[:, c]) for c in np.flatnonzero(live)[:256]]
    return TensorNoise(
        name, op, low, high, largest / max(usual, 1e-12),
        float(spans.max() / max(np.median(spans[live]), 1e-12)),
        float(spans.max() / max(np.percentile(spans[live], 5), 1e-12)), sqnr_db(values, grid),
        float(np.median(np.minimum(each, 200.0))),
    )  # fmt: skip


def hard_to_quantize(evidence: Evidence) -> Iterator[Finding]:
    """M01, M02, M05, M06 and, failing these, M03; each with int16x8 as the repair that shows it is the activations."""
    noises = activation_noise(evidence)
    yield from uneven_columns(evidence)
    wider = Repair("model", lambda recipe: replace(recipe, calibration="right", per_channel=True, scheme="int16x8"))
    if any(kind in type(layer).__name__ for layer in evidence.keras.layers for kind in RECURRENT):
        yield Finding(
            "M06", "the model is recurrent: each time step quantizes the state again and the error grows with time",
            f"keep the recurrent layer in float, or convert to 16-bit activations: {WIDER}", 0.9, repair=wider,
        )  # fmt: skip
    yield from _output_resolution(evidence, wider)
    wide = [
        t for t in noises if max(t.tail_ratio, t.channel_ratio) > TAIL_RATIO and t.op not in ("SOFTMAX", "LOGISTIC")
    ]
    if wide:
        worst = wide[0]
        inner = {op.name for op in evidence.facts.computing if op is not evidence.facts.last_op}
        smooth = inner & {"LOGISTIC", "HARD_SWISH", "GELU", "ELU", "PRELU", "LEAKY_RELU"}
        linear = worst.tail_ratio < TAIL_RATIO and not smooth
        yield Finding(
            "M02" if linear else "M01",
            f"{worst.name!r} spans [{worst.low:.4g}, {worst.high:.4g}], {worst.tail_ratio:.1f} times "
            "its 99.9th percentile, "
            f"its widest channel {worst.channel_ratio:.0f} times the median one: the median channel keeps "
            f"{worst.channel_sqnr_db:.1f} dB in int8",
            "equalize the channels (divide the producer's, multiply the consumer's: cross-layer equalization), or "
            f"convert to 16-bit activations: {WIDER}" if linear else
            "bound the activation (ReLU6 in place of swish or of an open residual sum), leave this layer in float, "
            f"train with quantization (qat), or convert to 16-bit activations: {WIDER}",
            0.8, repair=wider,
        )  # fmt: skip
    crushed = [t for t in noises if t.small_channels > SMALL_CHANNELS and t.op not in ("SOFTMAX", "LOGISTIC")]
    if crushed and not wide:
        yield Finding(
            "M02",
            f"{crushed[0].name!r}: its widest channel is {crushed[0].small_channels:.0f} times its "
            "narrowest ones, which are "
            "left with a few levels; per-channel weights cannot mend that",
            "equalize the channels (multiply the producer's small ones, divide the consumer's: cross-layer "
            f"equalization), or convert to 16-bit activations: {WIDER}", 0.7, repair=wider,
        )  # fmt: skip
    worst_text = "; ".join(f"{t.name} {t.sqnr_db:.0f} dB" for t in noises[:3])
    yield Finding(
        "M03",
        "neither fresh calibration nor per-channel weights bring the loss back, and it is spread "
        f"(worst: {worst_text})",
        f"train with quantization (calibrated, so that some hundred steps do): {command('train', 'quant=qat')}",
        0.3, repair=wider,
    )  # fmt: skip


def uneven_columns(evidence: Evidence) -> Iterator[Finding]:
    """M02 at the input: columns of unlike size on one scale, which alone take what the file loses."""
    from qat.quantization import columns

    inputs, tensors = evidence.right_inputs, evidence.file.inputs()
    for place, (values, tensor) in enumerate(zip(inputs, tensors, strict=True)):
        if tensor.is_float or tensor.quantization is None or values.ndim < 2:
            continue
        limits = tensor.quantization.real_limits
        found = columns.find_coarse_columns(values, *limits)
        if not found:
            continue
        coarse = [columns.round_columns(each, found, *limits) if at == place else each for at, each in enumerate(inputs)]
        alone = evidence.yardstick.drop(evidence.a0, run_keras(evidence.keras, coarse))
        if alone.significant:
            cut = columns.cut_behind_normalization(evidence.keras, place)
            yield Finding(
                "M02",
                f"input {tensor.name!r}: {columns.describe_columns(found, values)}. Rounding them alone takes "
                f"{alone.text(evidence.yardstick.unit)}",
                columns.describe_remedies(found, *limits, cut),
                0.96, proved_share=_standardised(evidence, place),
            )  # fmt: skip


def _standardised(evidence: Evidence, place: int) -> float | None:
    """Share of the loss that is gone in a file of the model without its first normalization, which stays outside."""
    import tf_keras

    from qat.errors import QatError
    from qat.export import convert
    from qat.quantization.columns import find_normalization

    model, layer = evidence.keras, find_normalization(evidence.keras, place)
    samples = evidence.calibration_samples("right")
    if layer is None or samples is None or len(model.inputs) > 1:
        return None
    before, after = tf_keras.Model(model.inputs, layer.output), tf_keras.Model(layer.output, model.output)
    try:
        content = convert(after, calibration=run_keras(before, samples), allow_float=True)
    except QatError as error:
        evidence.remarks.append(f"a file without the first normalization could not be made: {str(error)[:160]}")
        return None
    found = FileRunner(content, read(content)).real(run_keras(before, evidence.right_inputs))
    return evidence.yardstick.recovered(evidence.a0, evidence.a2, found)


def _output_resolution(evidence: Evidence, wider: Repair) -> Iterator[Finding]:
    """M05: the output's own grid loses as much as the whole file does."""
    outputs, params = evidence.a0, [t.quantization for t in evidence.case.graph.outputs]
    if len(outputs) != 1 or params[0] is None:
        return
    real, grid = outputs[0], params[0]
    coarse = [fake_quant(real, grid)]
    lost = evidence.yardstick.drop(outputs, evidence.a2)
    alone = evidence.yardstick.drop(outputs, coarse)
    levels = float(np.percentile(real, 99.5) - np.percentile(real, 0.5)) / float(grid.scale[0])
    if (levels < 64 and alone.significant) or (alone.significant and alone.points > 0.6 * lost.points):
        yield Finding(
            "M05",
            f"the output's scale is {float(grid.scale[0]):.4g}: the values that matter fall into "
            f"{levels:.0f} levels; that "
            f"rounding alone takes {alone.text(evidence.yardstick.unit)}",
            "keep the output in float (leave out the last softmax and take the argmax of the logits), normalise the "
            f"target, or convert to 16-bit activations: {WIDER}",
            0.95, repair=wider,
        )  # fmt: skip


def sensitive_layer(evidence: Evidence, noises: list[TensorNoise], recovered_of: Any) -> Finding | None:
    """M04: one layer left in float brings back 70 % of the loss. Tried on the three noisiest layers."""
    from qat.config import QuantConfig
    from qat.errors import QatError
    from qat.quantization import quantize_model

    names = {layer.name for layer in evidence.keras.layers}
    tried = []
    for noise in noises:
        layer = next((part for part in noise.name.split("/")[::-1] if part in names), None)
        if layer is not None and layer not in tried:
            tried.append(layer)
    for layer in tried[:3]:
        try:
            config = QuantConfig(name="qat", skip=[f"^{layer}$"])
            model = quantize_model(evidence.keras, evidence.calibration_samples("right"), config=config)
        # A stranger's model, and TensorFlow under it, fail in many ways; one trial less is said, and ends no diagnosis.
        except (QatError, ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            evidence.remarks.append(f"layer {layer!r} could not be left in float to try: {str(error)[:160]}")
            return None
        share = recovered_of(run_keras(model, evidence.right_inputs))
        if share >= 0.7:
            skipping = command("train", f"quant.skip=['^{layer}$']")
            return Finding(
                "M04", f"leaving layer {layer!r} alone in float recovers {share:.0%} of the loss",
                f"leave {layer!r} in float, by the converter's denylisted_nodes or by this option: {skipping}", 0.85,
                proved_share=share,
            )  # fmt: skip
    return None
