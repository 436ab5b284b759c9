"""A file of a quantization-aware model is compared with that model on a few rows before it is returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.config import ParityConfig
from qat.errors import QatError, TfliteFileError, WrongFileError
from qat.export.layer_parity import LayerParity, first_departure, layer_parity
from qat.export.other_rounding import reasons_to_round_otherwise, warn_of_other_codes
from qat.quantization.keras.arithmetic import integer_arithmetic
from qat.quantization.keras.check_rows import check_rows
from qat.quantization.keras.model import QatModel
from qat.quantization.kernels import arrays
from qat.tflite.graph import Tensor, TfliteGraph
from qat.tflite.reader import read
from qat.tflite.runtime.interpreter import Interpreter
from qat.warning import warn

LARGEST_FACTOR = 256.0  # by which XNNPACK multiplies


@dataclass(frozen=True)
class Departure:
    """One output that is not the model's: `name`, and how far it is away in codes."""

    name: str
    within_1_lsb: float
    max_lsb: float
    verdict: str  # "departs", or what is refused: "constant", "all zero", "not finite"


def check_against_model(model: tf_keras.Model, content: bytes, file: TfliteGraph | None = None) -> None:
    """Compare the outputs of a file with those of its model on up to four rows; warn where they differ.

    By the graph of the model's evaluation where there is one, else op by op in NumPy: a graph that serves once takes
    longer to make than the whole file. It compares the integer arithmetic of the file's kernels.

    Args:
        model: what `quantize_model` returned; any other is not looked at.
        content: bytes of its int8 file.
        file: what `read` returned for `content`, to save reading it again; None reads it.

    Raises:
        WrongFileError: an output is constant, all zero or not finite where the model's is not.
        TfliteFileError: LiteRT refuses the file, for instance because two operands need scales that differ too much.
    """
    if not isinstance(model, QatModel) or not model.qat_config["fake_quantization"]:
        return
    rows = check_rows(model)
    runtime = _runtime_of(content, file)
    actual = _run(runtime, rows)
    names = sorted(runtime.output_names) if runtime.metadata.outputs_by_name else runtime.output_names
    scales, expected = _output_scales(runtime), _predict(model, rows)
    departures = list(_departures(names, expected, actual, scales))
    reasons = reasons_to_round_otherwise(model, runtime.graph)
    if departures:
        _report(departures, _first_layer(model, content, rows), len(rows[0]), reasons)
    elif reasons:
        warn_of_other_codes(reasons, expected, actual, scales)


def _runtime_of(content: bytes, file: TfliteGraph | None) -> Interpreter:
    try:
        return Interpreter(content, trusted=True, check_range=False, graph=file)
    except TfliteFileError as error:
        raise TfliteFileError(f"{str(error).rstrip('.')}{farthest_scales(file or read(content))}") from error


def farthest_scales(file: TfliteGraph) -> str:
    """The op whose scales differ most, as a sentence, if by more than the factor 256 that XNNPACK takes; else ""."""
    found = [(0.0, "", "", 0.0, 0.0)]
    for op in file.subgraphs[0].ops:
        result, *operands = (file.subgraphs[0].tensors[index] for index in (op.outputs[0], *op.inputs) if index >= 0)
        for operand in operands:
            if len(operand.scales) == len(result.scales) == 1:
                one, other = sorted((operand.scales[0], result.scales[0]))
                found.append((other / one, op.name, result.name, one, other))
    factor, name, tensor, one, other = max(found)
    if factor <= LARGEST_FACTOR:
        return ""
    return (
        f". The scales of {name} {tensor!r} and of an operand differ too much, {one:.3g} and {other:.3g} per code. "
        "Scale or clip the larger values in the model; do not let the -1e9 of a mask pass through `maximum`"
    )


def _run(runtime: Interpreter, rows: list[NDArray]) -> list[NDArray]:
    """The file's outputs, in the order of `tf.nest.flatten`: one row after another where it is of one sample, which
    `predict` would try to give several at once."""
    open_batch = all(tensor.shape_signature[:1] == (-1,) for tensor in runtime.inputs)
    size = 1 if runtime.graph.batch == 1 and not open_batch else len(rows[0])
    parts = [[values[at : at + size] for values in rows] for at in range(0, len(rows[0]), size)]
    answers = [tf.nest.flatten(runtime.predict(part if len(part) > 1 else part[0])) for part in parts]
    return [np.concatenate(values) for values in zip(*answers, strict=True)]


def _predict(model: QatModel, rows: list[NDArray]) -> list[NDArray]:
    inputs = tf.nest.pack_sequence_as(model._nested_inputs, [tf.constant(values) for values in rows])
    if model.graph is not None:
        return arrays.as_arrays(tf.nest.flatten(model.answers(inputs)))
    with integer_arithmetic(in_numpy=True), np.errstate(all="ignore"):
        return arrays.as_arrays(tf.nest.flatten(model.call(inputs, training=False)))


def _output_scales(runtime: Interpreter) -> list[float | None]:
    """The scale of each output, in the order of `tf.nest.flatten`; None where the file does not quantize."""
    outputs = list(runtime.outputs)
    if runtime.metadata.outputs_by_name:
        outputs = [tensor for _, tensor in sorted(zip(runtime.output_names, outputs, strict=True), key=lambda p: p[0])]
    return [_output_scale(runtime.graph, tensor) for tensor in outputs]


def _output_scale(graph: TfliteGraph, tensor: Tensor) -> float | None:
    producer = graph.main.producers.get(tensor.index)
    if tensor.is_float and producer is not None and producer.name == "DEQUANTIZE":
        tensor = graph.tensors[producer.inputs[0]]
    return None if tensor.quantization is None else float(tensor.quantization.scale[0])


def _departures(
    names: Sequence[str], all_expected: list[NDArray], all_actual: list[NDArray], scales: list[float | None]
) -> Iterator[Departure]:
    for name, expected, actual, scale in zip(names, all_expected, all_actual, scales, strict=True):
        if expected.size == actual.size and expected.size:
            departure = compare_output(name, expected.reshape(-1), actual.reshape(-1), scale)
            if departure is not None:
                yield departure


def compare_output(name: str, expected: NDArray, actual: NDArray, scale: float | None) -> Departure | None:
    """Compare one output; one value more or less never exceeds the threshold of a share.

    Args:
        name: name of the output.
        expected: the model's real numbers, float [n].
        actual: the file's real numbers, float [n].
        scale: distance of two codes of the output; None where the file does not quantize: integers are compared as they
            are, floats in 1/255 of their range.

    Returns:
        Share of codes within 1 (0-1), largest difference in codes and a verdict; None if the output is within the
        thresholds of `ParityConfig`, or `expected` is not finite.
    """
    thresholds = ParityConfig()
    expected, actual = expected.astype(np.float64), actual.astype(np.float64)
    if not np.isfinite(expected).all():
        return None
    if not np.isfinite(actual).all():
        return Departure(name, 0.0, np.inf, "not finite")
    if scale is None:
        scale = 1.0 if np.array_equal(expected, np.rint(expected)) else max(np.ptp(expected) / 255, 1e-30)
    distance = np.abs(np.rint(expected / scale) - np.rint(actual / scale))
    beyond = int(np.sum(distance > 1))
    if beyond <= max((1 - thresholds.min_within_1_lsb) * distance.size, 1) and distance.max() <= thresholds.max_lsb:
        return None
    verdict = "departs"
    if not actual.any() and expected.any():
        verdict = "all zero"
    elif np.ptp(actual) == 0 and np.ptp(expected) > 0:
        verdict = "constant"
    return Departure(name, 1 - beyond / distance.size, float(distance.max()), verdict)


def _first_layer(model: QatModel, content: bytes, rows: list[NDArray]) -> LayerParity | None:
    thresholds = ParityConfig()
    inputs = tf.nest.pack_sequence_as(model._nested_inputs, rows)
    try:
        return first_departure(layer_parity(model, content, inputs), thresholds.min_within_1_lsb, thresholds.max_lsb)
    except (QatError, tf.errors.OpError, ValueError, RuntimeError):
        return None  # a layer that cannot be looked at by itself leaves the verdict as it is


def _report(departures: list[Departure], layer: LayerParity | None, rows: int, reasons: str) -> None:
    thresholds = ParityConfig()
    where = "no layer alone shows where it begins"
    if layer is not None:
        where = (
            f"layer {layer.layer!r} departs first ({layer.within_1_lsb:.1%} within 1 LSB, at most {layer.max_lsb} LSB)"
        )
    refused = [departure for departure in departures if departure.verdict != "departs"]
    if refused:
        worst = refused[0]
        raise WrongFileError(
            f"the file's output {worst.name!r} is {worst.verdict} on {rows} calibration rows, and the model's is not: "
            f"{where}. Leave that layer in float (quant.skip, with allow_float=True), or make the file without this "
            "check (check=False) to look into it; and please report the layer with its weights"
        )
    worst = max(departures, key=lambda departure: departure.max_lsb)
    warn(
        f"the file is not what the model computes: of output {worst.name!r}, {worst.within_1_lsb:.1%} of the codes are "
        f"within 1 LSB of the model's on {rows} calibration rows (expected {thresholds.min_within_1_lsb:.0%}), the "
        f"largest difference is {worst.max_lsb:.0f} LSB (expected at most {thresholds.max_lsb}); {where}. "
        f"{reasons or 'qat.export.layer_parity compares all layers; quant.skip leaves one in float'}",
    )
