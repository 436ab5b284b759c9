"""Writes planned operators into a file, once the grids of all values are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.file import ABSENT, File, per_tensor_quantization, quantization_parameters
from qat.export.lowering.planned_ops import OPERATOR, Bias, Constant, Kernel, Number, Operand, PlannedOp, Value
from qat.export.lowering.scales import Grid, bias_codes

IO_SHIFT = 128  # from int8 to uint8


class OpWriter:
    """Writes a file.

    Args:
        ops: planned operators in order.
        is_open: whether sizes that the network leaves open are open in the file.
        low_bit: whether kernels of 4 bits are stored as such.
    """

    def __init__(self, ops: Sequence[PlannedOp], is_open: bool, low_bit: bool) -> None:
        self.ops, self.is_open, self.low_bit, self.file = list(ops), is_open, low_bit, File()
        self.indices: dict[Value, int] = {}
        self.converted: dict[tuple[Value, Grid | None], int] = {}

    def write_model(self, inputs: Sequence[Value], outputs: Sequence[Value], io: str) -> schema.ModelT:
        """Write the whole model.

        Args:
            inputs: values of the model's inputs, in its order.
            outputs: values of its outputs, in its order.
            io: dtype of inputs and outputs that are codes inside: "int8", "uint8", "float32".

        Returns:
            The unpacked file, with one subgraph.
        """
        self.used = {value for op in self.ops for value in op.values_read}
        self.file.graph.inputs = [self._write_input(value, io) for value in inputs]
        for op in self.ops:
            self._write(op)
        self.file.graph.outputs = [self._write_output(value, io) for value in outputs]
        return self.file.model

    def index(self, value: Value) -> int:
        """The index of a value's tensor, which is added at the first use."""
        if value not in self.indices:
            self.indices[value] = self._tensor(value, value.grid)
        return self.indices[value]

    def _tensor(self, value: Value, grid: Grid | None, name: str | None = None) -> int:
        grid_or_none = grid if value.represents_reals else None
        return self.file.tensor(
            name or ";".join(value.names),
            value.dtype if grid_or_none is None else "int8",
            value.sizes,
            shape=value.shape if self.is_open else None,
            quantization=None if grid_or_none is None else per_tensor_quantization(grid_or_none),
        )

    def _write(self, op: PlannedOp) -> None:
        if op.write is not None:
            op.write(self, op)
            return
        inputs = [self._operand(operand, op) for operand in op.inputs]
        outputs = [self.index(value) for value in op.outputs]
        self._mark_integers(op)
        self.file.operator(op.operator, inputs, outputs, op.options)

    def _mark_integers(self, op: PlannedOp) -> None:
        """int32 that QUANTIZE reads has scale 1."""
        source = op.inputs[0]
        if op.operator == OPERATOR.QUANTIZE and isinstance(source, Value) and source.dtype == "int32":
            self.file.graph.tensors[self.index(source)].quantization = quantization_parameters(np.ones(1, np.float32))

    def read(self, op: PlannedOp) -> int:
        """The tensor of an operator's first operand, as it is read there."""
        return self._operand(op.inputs[0], op)

    def _operand(self, operand: Operand | None, op: PlannedOp) -> int:
        if operand is None:
            return ABSENT
        if isinstance(operand, Value):
            return self._value(operand, op)
        if isinstance(operand, Constant):
            return self.file.constant(operand.name, operand.values)
        if isinstance(operand, Number):
            return self._number(operand, op)
        return self._kernel(operand) if isinstance(operand, Kernel) else self._bias(operand)

    def _value(self, value: Value, op: PlannedOp) -> int:
        """A value as the operator reads it: codes for integer kernels, float32 for the others."""
        if not value.represents_reals or op.operator in (OPERATOR.QUANTIZE, OPERATOR.DEQUANTIZE, OPERATOR.SHAPE):
            return self.index(value)
        if op.computes_in_float:
            return self.index(value) if value.grid is None else self._convert(value, None, op)
        if op.one_grid and value.grid != op.outputs[0].grid:
            return self._convert(value, op.outputs[0].grid, op)
        return self.index(value)

    def _convert(self, value: Value, grid: Grid | None, op: PlannedOp) -> int:
        """The value on another grid, or as float32, for all consumers; named after the first of these."""
        if (value, grid) not in self.converted:
            name = f"{op.outputs[0].names[0]}/{'real' if grid is None else 'own'}_{len(self.converted)}"
            index = self._tensor(value, grid, name)
            operator = OPERATOR.DEQUANTIZE if grid is None else OPERATOR.QUANTIZE
            self.file.operator(operator, [self.index(value)], [index])
            self.converted[value, grid] = index
        return self.converted[value, grid]

    def _number(self, number: Number, op: PlannedOp) -> int:
        if op.computes_in_float:
            return self.file.constant(number.name, number.values)
        grid = number.grid or next(value.grid for value in op.outputs if value.grid is not None)
        codes = number.codes if number.codes is not None else grid.codes(number.values)
        return self.file.constant(number.name, codes, quantization=per_tensor_quantization(grid))

    def _kernel(self, kernel: Kernel) -> int:
        codes, arranged = kernel.codes, kernel.arrange(kernel.values)
        if codes is None:
            return self.file.constant(kernel.name, np.ascontiguousarray(arranged))
        axis = kernel.axis if len(codes.scales) > 1 else 0
        bits = codes.bits if self.low_bit else 8
        return self.file.constant(
            kernel.name, arranged, quantization=quantization_parameters(codes.scales, axis), bits=bits
        )

    def _bias(self, bias: Bias) -> int:
        codes, source = bias.kernel.codes, bias.source
        if codes is None or source.grid is None:
            return self.file.constant(bias.name, bias.values)
        scale = codes.scales * np.float32(source.grid.scale)
        return self.file.constant(
            bias.name, bias_codes(bias.values, scale), quantization=quantization_parameters(scale)
        )

    def _write_input(self, value: Value, io: str) -> int:
        """The tensor of a model input, with the operator that converts it to what the network reads."""
        if not value.represents_reals:
            return self.index(value)
        if value not in self.used and value.grid is None and io != "float32":
            return self._io_tensor(value, Grid.symmetric(1.0), io)
        if io == "int8" or value.grid is None:
            return self.index(value)
        external = self._io_tensor(value, value.grid, io)
        self.indices[value] = self._tensor(value, value.grid, f"{value.names[0]}/codes")
        self.file.operator(OPERATOR.QUANTIZE, [external], [self.indices[value]])
        return external

    def _write_output(self, value: Value, io: str) -> int:
        if io == "int8" or value.grid is None or not value.represents_reals:
            return self.index(value)
        internal = self.index(value)
        external = self._io_tensor(value, value.grid, io, f"{value.names[0]}/{'real' if io == 'float32' else io}")
        self.file.operator(OPERATOR.DEQUANTIZE if io == "float32" else OPERATOR.QUANTIZE, [internal], [external])
        return external

    def _io_tensor(self, value: Value, grid: Grid, io: str, name: str | None = None) -> int:
        """An input or output tensor of the graph."""
        if io == "float32":
            return self._tensor(value, None, name)
        index = self._tensor(value, grid, name)
        tensor = self.file.graph.tensors[index]
        if io == "uint8":
            tensor.type = schema.TensorType.UINT8
            tensor.quantization = quantization_parameters(
                np.array([grid.scale], np.float32), zero_point=grid.zero_point + IO_SHIFT
            )
        return index
