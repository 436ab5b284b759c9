"""M: what makes a model hard to quantize; asked after calibration and per-channel weights were excluded by repair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.codes import fake_quant, params_from_range
from qat.commands import command
from qat.diagnosis.catalogue import WIDER
from qat.diagnosis.engine import ENOUGH, Hypothesis, repair_state
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.runs import Conversion, FileRunner, run_keras
from qat.metrics import sqnr_db
from qat.models.which_keras import keras_of
from qat.tflite import TfliteGraph, read
from qat.tflite.editing import apply_edit
from qat.tflite.graph import Tensor
from qat.tflite.runtime.child_process import make_runtime
from qat.tflite.verify import CONVERSIONS

TAIL_RATIO = 8.0  # largest value over the 99.9th percentile; widest channel over the median one
SMALL_CHANNELS = 64.0  # widest channel over the narrowest that are alive
SAMPLES = 64
SHOWN_CHANNELS = 256
FEW_LEVELS = 64  # of the output's, between the 0.5th and 99.5th percentile
MOST_OF_THE_LOSS = 0.6
ALMOST = 0.95  # of what can be brought back, for one repair to stand for all
UINT8_SHIFT = 128  # of zero points, against those of int8
PROBABILITIES = ("SOFTMAX", "LOGISTIC")
SMOOTH = {"LOGISTIC", "HARD_SWISH", "GELU", "ELU", "PRELU", "LEAKY_RELU"}
FREE_SCALE = {"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "SUB", "MUL"}  # of their output
FINER_OUTPUT = (
    "keep the output in float (leave out the last softmax and take the argmax of the logits), normalise the target, "
    f"or convert to 16-bit activations: {WIDER}"
)


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

    @property
    def uneven(self) -> bool:
        return self.op not in PROBABILITIES and max(self.tail_ratio, self.channel_ratio) > TAIL_RATIO


def _measure_noise(evidence: Evidence) -> list[TensorNoise]:
    """Every float activation, worst first."""
    content = evidence.content(Conversion(scheme="float32"))
    if content is None or evidence.right_inputs is None:
        return []
    graph = read(content)
    runtime = make_runtime(content, graph, keep_tensors=True)
    values = runtime.tensors([a[:SAMPLES] for a in evidence.right_inputs])
    computed = [(op, graph.tensors[op.outputs[0]].name, values.get(op.outputs[0])) for op in graph.ops]
    noises = [
        _noise(name.split(";")[0], op.name, activation)
        for op, name, activation in computed
        if activation is not None and activation.dtype == np.float32 and np.ptp(activation) > 0
    ]
    evidence.noise_db = [(noise.name, noise.channel_sqnr_db) for noise in noises]
    return sorted(noises, key=lambda each: each.channel_sqnr_db)


def _noise(name: str, op: str, values: NDArray) -> TensorNoise:
    low, high = float(values.min()), float(values.max())
    grid = fake_quant(values, params_from_range(low, high))
    largest, usual = float(np.abs(values).max()), float(np.percentile(np.abs(values), 99.9))
    flat, coarse = values.reshape(-1, values.shape[-1]), grid.reshape(-1, values.shape[-1])
    widths = np.ptp(flat, axis=0)
    live = widths > 1e-6 * widths.max()
    each = [sqnr_db(flat[:, c], coarse[:, c]) for c in np.flatnonzero(live)[:SHOWN_CHANNELS]]
    return TensorNoise(
        *(name, op, low, high),
        tail_ratio=largest / max(usual, 1e-12),
        channel_ratio=float(widths.max() / max(np.median(widths[live]), 1e-12)),
        small_channels=float(widths.max() / max(np.percentile(widths[live], 5), 1e-12)),
        sqnr_db=sqnr_db(values, grid),
        channel_sqnr_db=float(np.median(np.minimum(each, 200.0))),
    )


def widen_activations(conversion: Conversion) -> Conversion:
    """The repair that shows that it is the activations."""
    return replace(conversion, calibration="right", per_channel=True, scheme="int16x8")


def find_hard_activations(evidence: Evidence) -> list[Hypothesis]:
    """M01, M02, M05 and, failing these, M03; strongest first, never empty."""
    noises = _measure_noise(evidence)
    named = [*_uneven_columns(evidence), *_coarse_output(evidence), *_uneven_tensors(evidence, noises)]
    return sorted(named or [_spread(noises)], key=lambda each: -each.strength)


def _uneven_tensors(evidence: Evidence, noises: list[TensorNoise]) -> Iterator[Hypothesis]:
    """M01, M02."""
    crushed = [each for each in noises if each.op not in PROBABILITIES and each.small_channels > SMALL_CHANNELS]
    if worst := next((each for each in noises if each.uneven), None):
        inner = {op.name for op in evidence.facts.computing if op is not evidence.facts.last_op}
        linear = worst.tail_ratio < TAIL_RATIO and not inner & SMOOTH
        yield Hypothesis(
            "M02" if linear else "M01",
            f"{worst.name!r} spans [{worst.low:.4g}, {worst.high:.4g}], {worst.tail_ratio:.1f} times its 99.9th "
            f"percentile, its widest channel {worst.channel_ratio:.0f} times the median one: the median channel keeps "
            f"{worst.channel_sqnr_db:.1f} dB in int8",
            f"equalize the channels (divide the producer's, multiply the consumer's: cross-layer equalization), or "
            f"convert to 16-bit activations: {WIDER}"
            if linear
            else "bound the activation (ReLU6 in place of swish or of an open residual sum), leave this layer in "
            f"float, train with quantization (qat), or convert to 16-bit activations: {WIDER}",
            0.8,
            repair=widen_activations,
        )
    elif crushed:
        yield Hypothesis(
            "M02",
            f"{crushed[0].name!r}: its widest channel is {crushed[0].small_channels:.0f} times its narrowest ones, "
            "which are left with a few levels; per-channel weights cannot mend that",
            "equalize the channels (multiply the producer's small ones, divide the consumer's: cross-layer "
            f"equalization), or convert to 16-bit activations: {WIDER}",
            0.7,
            repair=widen_activations,
        )


def _spread(noises: list[TensorNoise]) -> Hypothesis:
    """M03: no one layer, no one range."""
    worst = "; ".join(f"{each.name} {each.sqnr_db:.0f} dB" for each in noises[:3])
    return Hypothesis(
        "M03",
        "neither fresh calibration nor per-channel weights bring the loss back, and no range is uneven (worst: "
        f"{worst})",
        f"convert to 16-bit activations, {WIDER}, or train with quantization: {command('train', 'quant=qat')}",
        0.3,
        repair=widen_activations,
    )


def _uneven_columns(evidence: Evidence) -> Iterator[Hypothesis]:
    """M02 at the input: columns of unlike size on one scale, which alone take what the file loses."""
    from qat.quantization import columns

    inputs, tensors = evidence.right_inputs, evidence.file.inputs()
    for index, (values, tensor) in enumerate(zip(inputs, tensors, strict=True)):
        if tensor.quantization is None or values.ndim < 2:
            continue
        limits = tensor.quantization.real_limits
        small = columns.find_coarse_columns(values, *limits)
        if not small:
            continue
        coarse = list(inputs)
        coarse[index] = columns.round_columns(inputs[index], small, *limits)
        alone = evidence.score.drop(evidence.keras_outputs, run_keras(evidence.keras, coarse))
        if alone.significant:
            cut = columns.cut_after_normalization(evidence.keras, index)
            yield Hypothesis(
                "M02",
                f"input {tensor.name!r}: {columns.describe_columns(small, values)}. Rounding them alone takes "
                f"{alone.text(evidence.score.unit)}",
                columns.describe_remedies(small, *limits, cut),
                0.96,
                recovered=_standardised(evidence, index),
            )


def _standardised(evidence: Evidence, index: int) -> float | None:
    """Share of the loss that is gone in a file of the model without its first normalization, which stays outside."""
    from qat.errors import QatError
    from qat.export import convert
    from qat.quantization.columns import find_normalization

    model, layer = evidence.keras, find_normalization(evidence.keras, index)
    samples = evidence.select_calibration("right")
    if layer is None or samples is None or len(model.inputs) > 1:
        return None
    keras = keras_of(model)
    before, after = keras.Model(model.inputs, layer.output), keras.Model(layer.output, model.output)
    try:
        content = convert(after, calibration=run_keras(before, samples), allow_float=True)
    except QatError as error:
        evidence.remarks.append(f"a file without the first normalization could not be made: {str(error)[:160]}")
        return None
    outputs = FileRunner(content, read(content)).real(run_keras(before, evidence.right_inputs))
    return evidence.score.recovered(evidence.keras_outputs, evidence.file_outputs, outputs)


def list_output_tensors(graph: TfliteGraph, index: int) -> list[Tensor]:
    """The integer tensors of an output, from the op that computes it to the last conversion behind it.

    Args:
        graph: graph of the file.
        index: number of the output in the file's order, from 0.

    Returns:
        Tensors as they are computed, none for a float output; the first has the grid that it is rounded to.
    """
    tensor, chain = graph.outputs[index], []
    while tensor is not None:
        if tensor.quantization is not None:
            chain.insert(0, tensor)
        producer = graph.main.producers.get(tensor.index)
        passes = producer is not None and producer.name in CONVERSIONS
        tensor = graph.tensors[producer.inputs[0]] if passes else None
    return chain


def _coarse_output(evidence: Evidence) -> Iterator[Hypothesis]:
    """M05: the outputs' own grids lose as much as the whole file does."""
    outputs, order = evidence.keras_outputs, evidence.file.output_order
    grids = [next(iter(list_output_tensors(evidence.case.graph, index)), None) for index in order]
    if all(grid is None for grid in grids):
        return
    coarse = [real if g is None else fake_quant(real, g.quantization) for real, g in zip(outputs, grids, strict=True)]
    lost, alone = (evidence.score.drop(outputs, worse) for worse in (evidence.file_outputs, coarse))
    levels = min(_levels(real, grid) for real, grid in zip(outputs, grids, strict=True) if grid is not None)
    if alone.significant and (levels < FEW_LEVELS or alone.points > MOST_OF_THE_LOSS * lost.points):
        yield Hypothesis(
            "M05",
            f"the values of the output that matter fall into {levels:.0f} levels of its 8-bit grid; that rounding "
            f"alone takes {alone.text(evidence.score.unit)}",
            FINER_OUTPUT,
            0.95,
            repair=widen_activations,
        )


def _levels(real: NDArray, grid: Tensor) -> float:
    return float(np.percentile(real, 99.5) - np.percentile(real, 0.5)) / float(grid.quantization.scale[0])


def find_coarse_output(evidence: Evidence, reachable: float) -> Hypothesis | None:
    """M05: the same file, its outputs on a grid made for the values that are asked for, loses no more than it must.

    Args:
        evidence: what is known of a case with Keras model and right inputs.
        reachable: share of the loss, 0-1, that a file converted again brings back.

    Returns:
        The hypothesis with the share that it recovers; None where the grids are fine, or finer ones do not help.
    """
    graph, limits, levels = evidence.case.graph, {}, []
    for real, index in zip(evidence.keras_outputs, evidence.file.output_order, strict=True):
        chain = list_output_tensors(graph, index)
        op = graph.main.producers.get(chain[0].index) if chain else None
        if op is not None and op.name in FREE_SCALE:
            limits |= {tensor.index: (float(real.min()), float(real.max())) for tensor in chain}
            levels.append(_levels(real, chain[0]))
    if not limits or min(levels) >= FEW_LEVELS:
        return None
    hypothesis = Hypothesis(
        "M05",
        f"the outputs asked for fall into {min(levels):.0f} levels of the output's 8-bit grid, whose range is many "
        "times theirs; the output's scale made for them, all else as it is, does as much as calibrating anew",
        FINER_OUTPUT,
        0.95,
        repair=lambda content: set_output_ranges(content, limits),
    )
    loss = evidence.loss_of_file
    share = loss.recovered(repair_state(loss.state, [hypothesis]))
    suffices = share is not None and share >= min(ENOUGH, ALMOST * reachable)
    return replace(hypothesis, recovered=share) if suffices else None


def set_output_ranges(content: bytes, limits: dict[int, tuple[float, float]]) -> bytes:
    """Give tensors other scales and zero points, which ops of free output scale write.

    Args:
        content: bytes of the .tflite file.
        limits: index of a tensor to (min, max) of the real numbers that it shall hold.

    Returns:
        Bytes of the changed file.
    """

    def edit(model: Any) -> None:
        for index, (low, high) in limits.items():
            tensor, params = model.subgraphs[0].tensors[index], params_from_range(low, high)
            tensor.quantization.scale = np.asarray(params.scale, np.float32)
            shift = UINT8_SHIFT if tensor.type == schema.TensorType.UINT8 else 0
            tensor.quantization.zeroPoint = np.asarray(params.zero_point, np.int64) + shift

    return apply_edit(content, edit)
