"""UNIDIRECTIONAL_SEQUENCE_LSTM put where a stand-in is (see `qat.stand_in`), as TFLite's own calibrator writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.errors import ModelError
from qat.stand_in import LstmStandIn
from qat.tflite.barriers import drop_unused_tensors
from qat.tflite.borders import operator_of
from qat.tflite.kernels import bias_codes, mark_of

_ABSENT = -1
_ALONE = {  # activations, as ops of their own
    schema.ActivationFunctionType.RELU: schema.BuiltinOperator.RELU,
    schema.ActivationFunctionType.RELU_N1_TO_1: schema.BuiltinOperator.RELU_N1_TO_1,
    schema.ActivationFunctionType.RELU6: schema.BuiltinOperator.RELU6,
}
_INTERMEDIATES = ("input_to_input", "input_to_forget", "input_to_cell", "input_to_output")
_TYPES = {"int8": schema.TensorType.INT8, "int16": schema.TensorType.INT16, "int32": schema.TensorType.INT32}
_TYPES |= {"float32": schema.TensorType.FLOAT32}


def place_lstms(content: Any, stand_ins: Sequence[LstmStandIn]) -> None:
    """Replace each stand-in by the kernel that it stands for. `content`: a `ModelT`, in place.

    Raises:
        ModelError: a stand-in is not in the file once, which means that the converter has changed its form.
    """
    for stand_in in stand_ins:
        found = [op for op in content.subgraphs[0].operators if mark_of(content, op) == round(stand_in.mark)]
        if len(found) != 1:
            raise _lost(stand_in, f"{len(found)} ops that stand for its LSTM, expected 1")
        _Placing(content, found[0], stand_in).run()
    if stand_ins:
        _drop_detours(content)
        drop_unused_tensors(content.subgraphs[0])


def _drop_detours(content: Any) -> None:
    """Take out what only reshapes and reshapes back, as the converter does around a product that stood for a kernel."""
    graph = content.subgraphs[0]
    reshapes = [op for op in graph.operators if operator_of(content, op) == schema.BuiltinOperator.RESHAPE]
    made = {int(op.outputs[0]): op for op in reshapes}
    kept, same = {int(index) for index in graph.outputs}, {}
    for y, op in made.items():
        before = made.get(int(op.inputs[0]))
        x = int(before.inputs[0]) if before is not None else y
        if x != y and y not in kept and list(graph.tensors[x].shape) == list(graph.tensors[y].shape):
            same[y] = same.get(x, x)
    for op in graph.operators:
        op.inputs = [same.get(int(index), int(index)) for index in op.inputs]
    for _ in range(2):  # what is read by nobody, and then what only that has read
        read = kept | {int(index) for op in graph.operators for index in op.inputs}
        graph.operators = [op for op in graph.operators if int(op.outputs[0]) not in made or int(op.outputs[0]) in read]


def _lost(stand_in: LstmStandIn, left: str) -> ModelError:
    return ModelError(
        f"layer {stand_in.layer!r}: the converter left {left}. Put a layer that does nothing to the values, such as "
        "Reshape, behind the LSTM, or leave it in float (quant.skip)"
    )


class _Placing:
    """One stand-in, and the tensors that are made for the kernel in its place."""

    def __init__(self, content: Any, op: Any, stand_in: LstmStandIn) -> None:
        self.content, self.op, self.layer = content, op, stand_in.layer
        self.graph = content.subgraphs[0]
        self.steps, self.weights = stand_in.steps, stand_in.weights()
        self.fused = op.builtinOptions.fusedActivationFunction
        numbers = self.graph.tensors[op.outputs[0]].quantization
        if not self.fused and not np.isclose(numbers.scale[0], self.weights.scale, rtol=1e-3):
            raise _lost(stand_in, f"the output on a scale of {numbers.scale[0]}, expected {self.weights.scale}")

    def run(self) -> None:
        weights, old = self.weights, self.op
        units, size = weights.kernel[0].shape
        x, y = int(old.inputs[0]), int(old.outputs[0])
        batch = int(np.prod(self.graph.tensors[x].shape)) // (self.steps * size)
        source = self._reshaped(x, [batch, self.steps, size])
        state = self._state("state", [batch, units])
        cell = self._tensor("cell", "int16", [batch, units], 2.0 ** (weights.cell_bits - 15))
        for index in (state, cell):
            self.graph.tensors[index].isVariable = True
        op = self._operator(schema.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM, [], [])
        op.builtinOptionsType = schema.BuiltinOptions.UnidirectionalSequenceLSTMOptions
        op.builtinOptions = _options()
        absent = [_ABSENT]
        op.inputs = [source, *self._matrices(), *3 * absent, *self._biases(source)]
        op.inputs += [*2 * absent, state, cell, *4 * absent]
        op.intermediates = self._intermediates()
        before = [self._reshape(x, source)] if source != x else []
        after = self._after(op, y, [batch, self.steps, units])
        at = self.graph.operators.index(old)
        self.graph.operators[at : at + 1] = [*before, op, *after]

    def _after(self, op: Any, y: int, shape: list[int]) -> list[Any]:
        """Give the kernel its output; what must follow it where the converter reshaped, or fused a ReLU."""
        after = []
        if list(self.graph.tensors[y].shape) != shape:
            flat, y = y, self._on(y, "sequence", shape)
            after = [self._reshape(y, flat)]
        if self.fused:
            clipped, y = y, self._state("before_activation", shape)
            after = [self._operator(_ALONE[self.fused], [y], [clipped]), *after]
        op.outputs = [y]
        return after

    def _matrices(self) -> list[int]:
        named = (("kernel", self.weights.kernel, self.weights.kernel_scales),)
        named += (("recurrent", self.weights.recurrent, self.weights.recurrent_scales),)
        return [
            self._tensor(f"{name}_{gate}", "int8", list(codes.shape), scale, data=codes)
            for name, matrices, scales in named
            for gate, (codes, scale) in enumerate(zip(matrices, scales, strict=True))
        ]

    def _biases(self, source: int) -> list[int]:
        """int32, at the scale of the input times that of the gate's kernel."""
        of_x = np.float32(self.graph.tensors[source].quantization.scale[0])
        made = []
        for gate, (bias, scale) in enumerate(zip(self.weights.bias, self.weights.kernel_scales, strict=True)):
            step = np.float32(scale) * of_x
            data = bias_codes(bias, step)
            made.append(self._tensor(f"bias_{gate}", "int32", [len(bias)], float(step), data=data))
        return made

    def _intermediates(self) -> list[int]:
        """The kernel reads the last one alone: scale and zero point of what comes out of the cell."""
        made = [self._tensor(f"{name}_intermediate", "float32", [0]) for name in _INTERMEDIATES]
        return [*made, self._state("effective_hidden_scale_intermediate", [0])]

    def _state(self, name: str, shape: list[int]) -> int:
        """An int8 tensor on the state's scale: that of the output, if that has not been fused with anything."""
        if self.fused:
            return self._tensor(name, "int8", shape, self.weights.scale, self.weights.zero_point)
        return self._on(int(self.op.outputs[0]), name, shape)

    def _on(self, like: int, name: str, shape: list[int]) -> int:
        """An int8 tensor with the scale and zero point of another."""
        numbers = self.graph.tensors[like].quantization
        return self._tensor(name, "int8", shape, float(numbers.scale[0]), int(numbers.zeroPoint[0]))

    def _tensor(
        self,
        name: str,
        dtype: str,
        shape: list[int],
        scale: float | None = None,
        zero_point: int = 0,
        data: NDArray | None = None,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape, tensor.hasRank = f"{self.layer}/{name}", _TYPES[dtype], shape, True
        tensor.buffer = 0 if data is None else len(self.content.buffers)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.content.buffers.append(buffer)
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([scale], np.float32)
            tensor.quantization.zeroPoint = np.array([zero_point], np.int64)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _reshaped(self, x: int, shape: list[int]) -> int:
        return x if list(self.graph.tensors[x].shape) == shape else self._on(x, "input", shape)

    def _reshape(self, x: int, y: int) -> Any:
        shape = [int(size) for size in self.graph.tensors[y].shape]
        sizes = self._tensor("shape", "int32", [len(shape)], data=np.array(shape, np.int32))
        op = self._operator(schema.BuiltinOperator.RESHAPE, [x, sizes], [y])
        op.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
        op.builtinOptions = schema.ReshapeOptionsT()
        op.builtinOptions.newShape = shape
        return op

    def _operator(self, builtin: int, inputs: list[int], outputs: list[int]) -> Any:
        op = schema.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = _opcode(self.content, builtin), inputs, outputs
        return op


def _options() -> Any:
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    options.cellClip = options.projClip = 0.0  # Keras clips nothing; the converter's own 10.0 would
    options.timeMajor = options.asymmetricQuantizeInputs = options.diagonalRecurrentTensors = False
    return options


def _opcode(content: Any, builtin: int) -> int:
    """The index of an operator code, added where it is not there yet."""
    for index, code in enumerate(content.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
    content.operatorCodes.append(code)
    return len(content.operatorCodes) - 1
