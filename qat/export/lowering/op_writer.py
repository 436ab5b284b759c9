"""Steps as operators of a file, once the grids of all values are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.file import ABSENT, File, on_grid, on_scales
from qat.export.lowering.planned_ops import OPERATOR, Bias, Constant, Kernel, Number, Operand, Step, Value
from qat.export.lowering.scales import Grid, bias_codes

IO_SHIFT = 128  # from int8 to uint8


class Writing:
    """A file of `steps`.

    Args:
        is_open: whether sizes that the network leaves open are open in the file.
        low_bit: whether kernels of 4 bits are stored as such.
    """

    def __init__(self, steps: Sequence[Step], is_open: bool, low_bit: bool) -> None:
        self.steps, self.is_open, self.low_bit, self.file = list(steps), is_open, low_bit, File()
        self.indices: dict[Value, int] = {}
        self.converted: dict[tuple[Value, Grid | None], int] = {}

    def run(self, inputs: Sequence[Value], outputs: Sequence[Value], io: str) -> schema.ModelT:
        """The whole model; its inputs and outputs are of the dtype `io` where they are codes inside."""
        self.used = {value for step in self.steps for value in step.values_read}
        self.file.graph.inputs = [self._entry(value, io) for value in inputs]
        for step in self.steps:
            self._write(step)
        self.file.graph.outputs = [self._exit(value, io) for value in outputs]
        return self.file.model

    def index(self, value: Value) -> int:
        """The tensor of a value."""
        if value not in self.indices:
            self.indices[value] = self._tensor(value, value.grid)
        return self.indices[value]

    def _tensor(self, value: Value, grid: Grid | None, name: str | None = None) -> int:
        held = grid if value.stands_for_reals else None
        return self.file.tensor(
            name or ";".join(value.names),
            value.dtype if held is None else "int8",
            value.sizes,
            shape=value.shape if self.is_open else None,
            quantization=None if held is None else on_grid(held),
        )

    def _write(self, step: Step) -> None:
        if step.write is not None:
            step.write(self, step)
            return
        inputs = [self._operand(operand, step) for operand in step.inputs]
        outputs = [self.index(value) for value in step.outputs]
        self._mark_whole(step)
        self.file.operator(step.operator, inputs, outputs, step.options)

    def _mark_whole(self, step: Step) -> None:
        """int32 that QUANTIZE reads is in steps of 1."""
        source = step.inputs[0]
        if step.operator == OPERATOR.QUANTIZE and isinstance(source, Value) and source.dtype == "int32":
            self.file.graph.tensors[self.index(source)].quantization = on_scales(np.ones(1, np.float32))

    def read(self, step: Step) -> int:
        """The tensor of a step's first operand, as it is read there."""
        return self._operand(step.inputs[0], step)

    def _operand(self, operand: Operand | None, step: Step) -> int:
        if operand is None:
            return ABSENT
        if isinstance(operand, Value):
            return self._value(operand, step)
        if isinstance(operand, Constant):
            return self.file.constant(operand.name, operand.values)
        if isinstance(operand, Number):
            return self._number(operand, step)
        return self._kernel(operand) if isinstance(operand, Kernel) else self._bias(operand)

    def _value(self, value: Value, step: Step) -> int:
        """A value as the step reads it: codes for integer kernels, real numbers for the others."""
        if not value.stands_for_reals or step.operator in (OPERATOR.QUANTIZE, OPERATOR.DEQUANTIZE, OPERATOR.SHAPE):
            return self.index(value)
        if step.in_reals:
            return self.index(value) if value.grid is None else self._as(value, None, step)
        if step.one_grid and value.grid != step.outputs[0].grid:
            return self._as(value, step.outputs[0].grid, step)
        return self.index(value)

    def _as(self, value: Value, grid: Grid | None, step: Step) -> int:
        """The value on another grid, or in real numbers, for all that read it so; named after the first of these."""
        if (value, grid) not in self.converted:
            name = f"{step.outputs[0].names[0]}/{'real' if grid is None else 'own'}_{len(self.converted)}"
            made = self._tensor(value, grid, name)
            operator = OPERATOR.DEQUANTIZE if grid is None else OPERATOR.QUANTIZE
            self.file.operator(operator, [self.index(value)], [made])
            self.converted[value, grid] = made
        return self.converted[value, grid]

    def _number(self, number: Number, step: Step) -> int:
        if step.in_reals:
            return self.file.constant(number.name, number.values)
        grid = number.grid or next(value.grid for value in step.outputs if value.grid is not None)
        codes = number.codes if number.codes is not None else grid.codes(number.values)
        return self.file.constant(number.name, codes, quantization=on_grid(grid))

    def _kernel(self, kernel: Kernel) -> int:
        held, arranged = kernel.codes, kernel.arrange(kernel.values)
        if held is None:
            return self.file.constant(kernel.name, np.ascontiguousarray(arranged))
        axis = kernel.axis if len(held.scales) > 1 else 0
        bits = held.bits if self.low_bit else 8
        return self.file.constant(kernel.name, arranged, quantization=on_scales(held.scales, axis), bits=bits)

    def _bias(self, bias: Bias) -> int:
        held, source = bias.kernel.codes, bias.source
        if held is None or source.grid is None:
            return self.file.constant(bias.name, bias.values)
        step = held.scales * np.float32(source.grid.scale)
        return self.file.constant(bias.name, bias_codes(bias.values, step), quantization=on_scales(step))

    def _entry(self, value: Value, io: str) -> int:
        """A model input, and what makes of it what the network reads."""
        if not value.stands_for_reals:
            return self.index(value)
        if value not in self.used and value.grid is None and io != "float32":
            return self._outside(value, Grid.symmetric(1.0), io)
        if io == "int8" or value.grid is None:
            return self.index(value)
        outside = self._outside(value, value.grid, io)
        self.indices[value] = self._tensor(value, value.grid, f"{value.names[0]}/codes")
        self.file.operator(OPERATOR.QUANTIZE, [outside], [self.indices[value]])
        return outside

    def _exit(self, value: Value, io: str) -> int:
        if io == "int8" or value.grid is None or not value.stands_for_reals:
            return self.index(value)
        inside = self.index(value)
        outside = self._outside(value, value.grid, io, f"{value.names[0]}/{'real' if io == 'float32' else io}")
        self.file.operator(OPERATOR.DEQUANTIZE if io == "float32" else OPERATOR.QUANTIZE, [inside], [outside])
        return outside

    def _outside(self, value: Value, grid: Grid, io: str, name: str | None = None) -> int:
        """A tensor at the border of the graph."""
        if io == "float32":
            return self._tensor(value, None, name)
        index = self._tensor(value, grid, name)
        tensor = self.file.graph.tensors[index]
        if io == "uint8":
            tensor.type = schema.TensorType.UINT8
            tensor.quantization = on_scales(np.array([grid.scale], np.float32), zero_point=grid.zero_point + IO_SHIFT)
        return index
