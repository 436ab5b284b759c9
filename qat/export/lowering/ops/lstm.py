"""UNIDIRECTIONAL_SEQUENCE_LSTM, in its int8 form as TFLite's own calibrator writes it, and in float."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.file import ABSENT, File, per_tensor_quantization
from qat.export.lowering.lowering import Context
from qat.export.lowering.planned_ops import FUSED, OPERATOR, PlannedOp, Value
from qat.export.lowering.scales import Grid, bias_codes
from qat.quantization.keras.lstm import QUANTIZED, Lstm
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.wrapper import CanonicalWrapper


class Writer(Protocol):
    """What an `OpWriter` offers."""

    file: File

    def index(self, value: Value) -> int: ...

    def read(self, op: PlannedOp) -> int: ...


INTERMEDIATES = ("input_to_input", "input_to_forget", "input_to_cell", "input_to_output")
GATES = 4  # input, forget, cell, output


def lstm(context: Context) -> Value:
    """The sequence of states; the tensors of the kernel's state are added when the operator is written."""
    result = context.result()
    quantized = isinstance(context.call.layer, CanonicalWrapper)
    layer: Lstm = context.call.inner
    if quantized:
        weights_by_name = zip(QUANTIZED, context.call.layer._weight_vars, strict=True)
        layer.quantized_by({name: quantizer for name, (_, quantizer, _) in weights_by_name})

    def write_lstm(writer: Writer, op: PlannedOp) -> None:
        if quantized:
            _write_codes(writer, context.name, layer, layer.ranges_of_calls[context.call.call_index].target, op)
        else:
            _write_reals(writer, context.name, layer, op)

    context.lowering.add_op(OPERATOR.UNIDIRECTIONAL_SEQUENCE_LSTM, [context.x], [result], write=write_lstm)
    return result


def _write_codes(writer: Writer, name: str, layer: Lstm, target: RangeLayer, op: PlannedOp) -> None:
    file, (x,), (y,) = writer.file, op.values_read, op.outputs
    weights, grid = layer.file_weights(target), y.known_grid
    units, batch = layer.units, y.sizes[0]
    state = file.tensor(
        f"{name}/state", "int8", [batch, units], quantization=per_tensor_quantization(grid), variable=True
    )
    cell_quantization = per_tensor_quantization(Grid.symmetric(2.0 ** (weights.cell_bits - 15)))
    cell = file.tensor(f"{name}/cell", "int16", [batch, units], quantization=cell_quantization, variable=True)
    matrices = [
        file.constant(f"{name}/{name_part}_{gate}", codes, quantization=per_tensor_quantization(Grid.symmetric(scale)))
        for name_part, gates, scales in (
            ("kernel", weights.kernel, weights.kernel_scales),
            ("recurrent", weights.recurrent, weights.recurrent_scales),
        )
        for gate, (codes, scale) in enumerate(zip(gates, scales, strict=True))
    ]
    biases = []
    for gate, (bias, scale) in enumerate(zip(weights.bias, weights.kernel_scales, strict=True)):
        unit = np.float32(scale) * np.float32(x.known_grid.scale)
        codes = bias_codes(bias, unit)
        biases.append(
            file.constant(
                f"{name}/bias_{gate}", codes, quantization=per_tensor_quantization(Grid.symmetric(float(unit)))
            )
        )
    intermediates = [file.tensor(f"{name}/{name_part}_intermediate", "float32", [0]) for name_part in INTERMEDIATES]
    hidden = f"{name}/effective_hidden_scale_intermediate"
    intermediates.append(
        file.tensor(hidden, "int8", [0], quantization=per_tensor_quantization(grid))
    )  # the one that the kernel reads
    inputs = _inputs(writer.read(op), matrices, biases, state, cell)
    file.operator(OPERATOR.UNIDIRECTIONAL_SEQUENCE_LSTM, inputs, [writer.index(y)], _options(), intermediates)


def _write_reals(writer: Writer, name: str, layer: Lstm, op: PlannedOp) -> None:
    file, (y,) = writer.file, op.outputs
    units, batch = layer.units, y.sizes[0]
    state, cell = (
        file.tensor(f"{name}/{name_part}", "float32", [batch, units], variable=True) for name_part in ("state", "cell")
    )
    matrices = [
        file.constant(f"{name}/{name_part}_{gate}", np.ascontiguousarray(part.T))
        for name_part in ("kernel", "recurrent")
        for gate, part in enumerate(np.split(np.asarray(layer.real_weight(name_part)), GATES, axis=1))
    ]
    parts = np.split(np.asarray(layer.real_weight("bias")), GATES)
    biases = [file.constant(f"{name}/bias_{gate}", part) for gate, part in enumerate(parts)]
    inputs = _inputs(writer.read(op), matrices, biases, state, cell)
    file.operator(OPERATOR.UNIDIRECTIONAL_SEQUENCE_LSTM, inputs, [writer.index(y)], _options())


def _inputs(source: int, matrices: list[int], biases: list[int], state: int, cell: int) -> list[int]:
    """In the kernel's order, without peepholes, projection and normalization."""
    return [source, *matrices, *3 * [ABSENT], *biases, *2 * [ABSENT], state, cell, *4 * [ABSENT]]


def _options() -> schema.UnidirectionalSequenceLSTMOptionsT:
    """Keras clips nothing."""
    return schema.UnidirectionalSequenceLSTMOptionsT(fusedActivationFunction=FUSED.TANH)
