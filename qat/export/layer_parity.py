"""Layer by layer, the deployed file against the model that it was exported from: what `predict` computes, in the
kernels' integers, and what a training step computes, by fake quantization in float."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.metrics import sqnr_db
from qat.models.which_keras import unwrap
from qat.quantization.keras.arithmetic import fake_quant_arithmetic, integer_arithmetic
from qat.quantization.keras.model import QatModel, part_of
from qat.quantization.keras.range_layer import RangeLayer
from qat.tflite.editing import apply_edit
from qat.tflite.graph import Tensor
from qat.tflite.reader import read
from qat.tflite.runtime.interpreter import Inputs, Interpreter

BATCH_SIZE = 32  # samples whose tensors of all layers are computed together


@dataclass(frozen=True)
class LayerParity:
    """One quantized tensor, by the name of the Keras layer that makes it. `..._lsb` counts codes of that tensor.

    `training_off` is the share of the file's codes, 0-1, that are not those of a training step's forward pass (with the
    statistics of inference), `training_max_lsb` the largest difference; the others compare `predict` with the file.
    """

    layer: str
    tensor: str
    sqnr_db: float
    exact: float
    within_1_lsb: float
    max_lsb: int
    training_off: float = 0.0
    training_max_lsb: int = 0


@dataclass(frozen=True)
class _Probe:
    source: str  # Keras layer
    keras: Any  # KerasTensor on the grid
    index: int  # tensor in the file


def _probes(model: tf_keras.Model, tflite_model: bytes) -> list[_Probe]:
    """Each range of the model, with the file's tensor that carries the name of the layer before it; of a layer that is
    called several times, the one on that range."""
    tensors_of: dict[str, list[int]] = {}
    graph = read(tflite_model).subgraphs[0]
    for op in graph.ops:
        for index in op.outputs:
            for part in graph.tensors[index].name.split(";"):
                owner = part.split("/")[1] if part.count("/") else part
                if graph.tensors[index].quantization is not None:
                    tensors_of.setdefault(owner, []).append(index)
    probes = []
    for layer in model.layers:
        if isinstance(layer, RangeLayer):
            for node in layer.inbound_nodes:
                producer = node.inbound_layers
                matches = [] if isinstance(producer, list) else tensors_of.get(producer.name, [])
                if matches and len(producer.inbound_nodes) > 1:
                    matches = [index for index in matches if _is_on_range(layer, graph.tensors[index])]
                    matches = matches if len(matches) == 1 else []
                probes += [_Probe(layer.source, node.outputs, index) for index in matches[:1]]
    return probes


def _is_on_range(layer: RangeLayer, tensor: Tensor) -> bool:
    return bool(np.isclose(float(layer.scale()), tensor.scales[0], rtol=1e-6, atol=0))


def _with_outputs(tflite_model: bytes, indices: list[int]) -> bytes:
    """The same file with inner tensors among its outputs, so that they are read from the kernels that are deployed."""

    def edit(content: schema.ModelT) -> None:
        content.subgraphs[0].outputs = indices
        content.signatureDefs = content.metadata = None

    return apply_edit(tflite_model, edit)


def layer_parity(
    model: tf_keras.Model, tflite_model: bytes, inputs: Inputs, *, reference_kernels: bool = False
) -> list[LayerParity]:
    """Compare every tensor that both hold, in the model's order.

    Args:
        model: what `quantize_model` returned, trained or not.
        tflite_model: bytes of its int8 file.
        inputs: real inputs, float32, as the model takes them: an array [N, ...] or a list of these.
        reference_kernels: run the file by LiteRT's plain kernels in the place of XNNPACK's.

    Returns:
        One entry per tensor: shares of equal codes and of codes within 1 LSB (0-1), largest difference in LSB.
    """
    model = unwrap(model)
    probes = _probes(model, tflite_model)
    if not probes:
        return []
    unique = list(dict.fromkeys(probe.index for probe in probes))
    runtime = Interpreter(_with_outputs(tflite_model, unique), trusted=True, reference_kernels=reference_kernels)
    matches = runtime.predict_codes(runtime.quantized(inputs))
    codes = dict(zip(unique, tf.nest.flatten(matches), strict=True))
    part = part_of(model, [probe.keras for probe in probes])
    with contextlib.nullcontext() if part.float_variables is None else part.float_variables.one_pass():
        predicted = _run_part(part, inputs, integer_arithmetic)
        trained = _run_part(part, inputs, fake_quant_arithmetic)
    tensors = read(tflite_model).subgraphs[0].tensors
    return [
        _compare_layer(probe.source, tensors[probe.index], real, in_training, codes[probe.index])
        for probe, real, in_training in zip(probes, predicted, trained, strict=True)
        if real.size == codes[probe.index].size
    ]


def _run_part(
    part: QatModel, inputs: Inputs, arithmetic: Callable[[], contextlib.AbstractContextManager[None]]
) -> list[NDArray]:
    """What the model gives in this arithmetic; op by op, because a graph that serves once takes longer."""
    parts = []
    for start in range(0, len(tf.nest.flatten(inputs)[0]), BATCH_SIZE):
        rows_of_batch = [tf.constant(values[start : start + BATCH_SIZE]) for values in tf.nest.flatten(inputs)]
        with arithmetic():
            matches = part(tf.nest.pack_sequence_as(inputs, rows_of_batch), training=False)
        parts.append([values.numpy() for values in tf.nest.flatten(matches)])
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def _compare_layer(layer: str, tensor: Tensor, real: NDArray, in_training: NDArray, codes: NDArray) -> LayerParity:
    assert tensor.quantization is not None  # probes are tensors with codes
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    file_codes = codes.reshape(-1).astype(np.int64)
    distance, of_training = (
        np.abs(np.round(values.reshape(-1) / scale) + zero_point - file_codes) for values in (real, in_training)
    )
    return LayerParity(
        layer=layer,
        tensor=tensor.name,
        sqnr_db=sqnr_db(real.reshape(-1), (codes.reshape(-1).astype(np.float64) - zero_point) * scale),
        exact=float(np.mean(distance == 0)),
        within_1_lsb=float(np.mean(distance <= 1)),
        max_lsb=int(distance.max()),
        training_off=float(np.mean(of_training != 0)),
        training_max_lsb=int(of_training.max()),
    )


def first_departure(rows: list[LayerParity], within_1_lsb: float = 0.98, max_lsb: int = 8) -> LayerParity | None:
    """The first layer beyond the thresholds.

    Args:
        rows: what `layer_parity` returned, in the model's order.
        within_1_lsb: the least share of codes, 0-1, that differ by at most 1.
        max_lsb: the largest difference, in codes.

    Returns:
        The first in the model's order; None where all layers are within.
    """
    return next((row for row in rows if row.within_1_lsb < within_1_lsb or row.max_lsb > max_lsb), None)
