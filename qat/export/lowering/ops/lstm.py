"""UNIDIRECTIONAL_SEQUENCE_LSTM, in its int8 form as TFLite's own calibrator writes it, and in float."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.file import ABSENT, File, on_grid
from qat.export.lowering.lowering import Context
from qat.export.lowering.planned_ops import FUSED, OPERATOR, Step, Value
from qat.export.lowering.scales import Grid, bias_codes
from qat.quantization.keras.lstm import QUANTIZED, Lstm
from qat.quantization.keras.wrapper import CanonicalWrapper


class Writer(Protocol):
    """What writes the steps."""

    file: File

    def index(self, value: Value) -> int: ...

    def read(self, step: Step) -> int: ...


INTERMEDIATES = ("input_to_input", "input_to_forget", "input_to_cell", "input_to_output")
GATES = 4  # input, forget, cell, output


def lstm(context: Context) -> Value:
    """The whole sequence of states; what the kernel keeps between calls is made when the operator is written."""
    made = context.result()
    quantized = isinstance(context.call.layer, CanonicalWrapper)
    write = _write_codes if quantized else _write_reals
    layer: Lstm = context.call.inner
    if quantized:
        named = zip(QUANTIZED, context.call.layer._weight_vars, strict=True)
        layer.quantized_by({name: quantizer for name, (_, quantizer, _) in named})
    target = layer.ends[context.call.place].target if quantized else None

    def written(writing: Any, step: Step) -> None:
        write(writing, context.name, layer, target, step)

    context.lowering.step(OPERATOR.UNIDIRECTIONAL_SEQUENCE_LSTM, [context.x], [made], write=written)
    return made


def _write_codes(writing: Writer, name: str, layer: Lstm, target: Any, step: Step) -> None:
    file, (x,), (y,) = writing.file, step.values_read, step.outputs
    weights, grid = layer.file_weights(target), y.on_grid
    units, batch = layer.units, y.sizes[0]
    state = file.tensor(f"{name}/state", "int8", [batch, units], quantization=on_grid(grid), variable=True)
    of_cell = on_grid(Grid.symmetric(2.0 ** (weights.cell_bits - 15)))
    cell = file.tensor(f"{name}/cell", "int16", [batch, units], quantization=of_cell, variable=True)
    matrices = [
        file.constant(f"{name}/{word}_{gate}", codes, quantization=on_grid(Grid.symmetric(scale)))
        for word, gates, scales in (
            ("kernel", weights.kernel, weights.kernel_scales),
            ("recurrent", weights.recurrent, weights.recurrent_scales),
        )
        for gate, (codes, scale) in enumerate(zip(gates, scales, strict=True))
    ]
    biases = []
    for gate, (bias, scale) in enumerate(zip(weights.bias, weights.kernel_scales, strict=True)):
        unit = np.float32(scale) * np.float32(x.on_grid.scale)
        codes = bias_codes(bias, unit)
        biases.append(file.constant(f"{name}/bias_{gate}", codes, quantization=on_grid(Grid.symmetric(float(unit)))))
    kept = [file.tensor(f"{name}/{word}_intermediate", "float32", [0]) for word in INTERMEDIATES]
    hidden = f"{name}/effective_hidden_scale_intermediate"
    kept.append(file.tensor(hidden, "int8", [0], quantization=on_grid(grid)))  # the one that the kernel reads
    inputs = _inputs(writing.read(step), matrices, biases, state, cell)
    file.operator(OPERATOR.UNIDIRECTIONAL_SEQUENCE_LSTM, inputs, [writing.index(y)], _options(), kept)


def _write_reals(writing: Writer, name: str, layer: Lstm, target: Any, step: Step) -> None:
    file, (y,) = writing.file, step.outputs
    units, batch = layer.units, y.sizes[0]
    state, cell = (
        file.tensor(f"{name}/{word}", "float32", [batch, units], variable=True) for word in ("state", "cell")
    )
    matrices = [
        file.constant(f"{name}/{word}_{gate}", np.ascontiguousarray(part.T))
        for word in ("kernel", "recurrent")
        for gate, part in enumerate(np.split(np.asarray(layer.real_weight(word)), GATES, axis=1))
    ]
    parts = np.split(np.asarray(layer.real_weight("bias")), GATES)
    biases = [file.constant(f"{name}/bias_{gate}", part) for gate, part in enumerate(parts)]
    inputs = _inputs(writing.read(step), matrices, biases, state, cell)
    file.operator(OPERATOR.UNIDIRECTIONAL_SEQUENCE_LSTM, inputs, [writing.index(y)], _options())


def _inputs(source: int, matrices: list[int], biases: list[int], state: int, cell: int) -> list[int]:
    """In the kernel's order, without peepholes, projection and normalization."""
    return [source, *matrices, *3 * [ABSENT], *biases, *2 * [ABSENT], state, cell, *4 * [ABSENT]]


def _options() -> schema.UnidirectionalSequenceLSTMOptionsT:
    """Keras clips nothing."""
    return schema.UnidirectionalSequenceLSTMOptionsT(fusedActivationFunction=FUSED.TANH)
