"""A file of a quantization-aware model, run beside that model on a few rows before anybody gets it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.config import ParityConfig
from qat.errors import QatError, WrongFileError
from qat.export.layer_parity import LayerParity, first_departure, layer_parity
from qat.quantization.keras.check_rows import check_rows
from qat.quantization.keras.layers import integer_arithmetic
from qat.quantization.keras.model import QatModel
from qat.tflite.graph import Tensor, TfliteGraph
from qat.tflite.runtime.interpreter import Interpreter


@dataclass(frozen=True)
class Departure:
    """One output that is not the model's: `name`, and how far it is away in codes."""

    name: str
    within_1_lsb: float
    max_lsb: float
    verdict: str  # "departs", or what is refused: "constant", "all zero", "not finite"


def check_against_model(model: Any, content: bytes, file: TfliteGraph | None = None) -> None:
    """Nothing, if the file gives what the model gives, on up to four rows.

    By the graph of the model's evaluation where there is one, else op by op: a graph that serves once takes longer to
    make than the whole file. What is compared is the integer arithmetic of the file's kernels.

    Args:
        model: what `quantize_model` returned; any other is not looked at.
        content: its file.
        file: what `read` made of that, where it has been read already.

    Raises:
        WrongFileError: an output is constant, all zero or not finite where the model's is not.
    """
    if not isinstance(model, QatModel) or not model.told["fake_quantization"]:
        return
    rows = check_rows(model)
    runtime = Interpreter(content, trusted=True, check_range=False, graph=file)
    found = [np.asarray(values) for values in tf.nest.flatten(runtime.predict(rows if len(rows) > 1 else rows[0]))]
    names = sorted(runtime.output_names) if runtime.metadata.outputs_by_name else runtime.output_names
    steps = _steps(runtime)
    departures = list(_departures(names, _computed(model, rows), found, steps))
    if departures:
        _tell(departures, _first_layer(model, content, rows), len(rows[0]))


def _computed(model: QatModel, rows: list[NDArray]) -> list[NDArray]:
    inputs = tf.nest.pack_sequence_as(model._nested_inputs, [tf.constant(values) for values in rows])
    with integer_arithmetic():
        answers = model.call(inputs, training=False) if model.graph is None else model.answers(inputs)
    return [values.numpy() for values in tf.nest.flatten(answers)]


def _steps(runtime: Interpreter) -> list[float | None]:
    """Between two codes of each output, in the order of `tf.nest.flatten`; None where the file does not quantize."""
    outputs = list(runtime.outputs)
    if runtime.metadata.outputs_by_name:
        outputs = [tensor for _, tensor in sorted(zip(runtime.output_names, outputs, strict=True), key=lambda p: p[0])]
    return [_step(runtime.graph, tensor) for tensor in outputs]


def _step(graph: TfliteGraph, tensor: Tensor) -> float | None:
    producer = graph.main.producers.get(tensor.index)
    if tensor.is_float and producer is not None and producer.name == "DEQUANTIZE":
        tensor = graph.tensors[producer.inputs[0]]
    return None if tensor.quantization is None else float(tensor.quantization.scale[0])


def _departures(
    names: Any, expected: list[NDArray], found: list[NDArray], steps: list[float | None]
) -> Iterator[Departure]:
    for name, wanted, given, step in zip(names, expected, found, steps, strict=True):
        if wanted.size == given.size and wanted.size:
            departure = compared(name, wanted.reshape(-1), given.reshape(-1), step)
            if departure is not None:
                yield departure


def compared(name: str, wanted: NDArray, given: NDArray, step: float | None) -> Departure | None:
    """None, if an output holds `parity`'s own bars; one value more or less never breaks that of a share.

    Args:
        name: the output's.
        wanted, given: the model's and the file's real numbers, [n].
        step: between two codes; None where the file does not quantize: whole numbers are compared as they are, floats
            in 255ths of their span.
    """
    bars = ParityConfig()
    wanted, given = wanted.astype(np.float64), given.astype(np.float64)
    if not np.isfinite(wanted).all():
        return None
    if not np.isfinite(given).all():
        return Departure(name, 0.0, np.inf, "not finite")
    if step is None:
        step = 1.0 if np.array_equal(wanted, np.rint(wanted)) else max(np.ptp(wanted) / 255, 1e-30)
    distance = np.abs(np.rint(wanted / step) - np.rint(given / step))
    beyond = int(np.sum(distance > 1))
    if beyond <= max((1 - bars.min_within_1_lsb) * distance.size, 1) and distance.max() <= bars.max_lsb:
        return None
    verdict = "departs"
    if not given.any() and wanted.any():
        verdict = "all zero"
    elif np.ptp(given) == 0 and np.ptp(wanted) > 0:
        verdict = "constant"
    return Departure(name, 1 - beyond / distance.size, float(distance.max()), verdict)


def _first_layer(model: QatModel, content: bytes, rows: list[NDArray]) -> LayerParity | None:
    bars = ParityConfig()
    inputs = tf.nest.pack_sequence_as(model._nested_inputs, rows)
    try:
        return first_departure(layer_parity(model, content, inputs), bars.min_within_1_lsb, bars.max_lsb)
    except (QatError, tf.errors.OpError, ValueError, RuntimeError):
        return None  # a layer that cannot be looked at by itself leaves the verdict as it is


def _tell(departures: list[Departure], layer: LayerParity | None, rows: int) -> None:
    bars = ParityConfig()
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
    warnings.warn(
        f"the file is not what the model computes: of output {worst.name!r}, {worst.within_1_lsb:.1%} of the codes are "
        f"within 1 LSB of the model's on {rows} calibration rows (expected {bars.min_within_1_lsb:.0%}), the largest "
        f"difference is {worst.max_lsb:.0f} LSB (expected at most {bars.max_lsb}); {where}. "
        "qat.evaluation.layer_parity compares all layers; quant.skip leaves one in float",
        stacklevel=4,
    )
