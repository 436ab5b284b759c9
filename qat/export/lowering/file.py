"""A `.tflite` file while it is built: tensors, constants without duplicates, operators and their codes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.export.lowering.planned_ops import Options
from qat.export.lowering.scales import Grid
from qat.export.lowering.versions import lowest_version

ABSENT = -1  # an optional input that is not given
TYPES = {
    "bool": schema.TensorType.BOOL,
    "float32": schema.TensorType.FLOAT32,
    "int4": schema.TensorType.INT4,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "uint8": schema.TensorType.UINT8,
}
SCHEMA_VERSION = 3
LAST_OLD_OPERATOR = 127  # in the int8 field that older readers know


class File:
    """The one subgraph of a model."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.description = SCHEMA_VERSION, "qat"
        self.model.operatorCodes, self.model.buffers, self.model.subgraphs = [], [schema.BufferT()], [self.graph]
        self.graph.name, self.graph.tensors, self.graph.operators = "main", [], []
        self._constants: dict[Any, int] = {}
        self._buffers: dict[bytes, int] = {}
        self._names: set[str] = set()

    def tensor(
        self,
        name: str,
        dtype: str,
        sizes: Sequence[int],
        *,
        shape: Sequence[int | None] | None = None,
        quantization: schema.QuantizationParametersT | None = None,
        variable: bool = False,
    ) -> int:
        """Add a tensor that an operator computes, or an input of the graph.

        Args:
            name: name of the tensor; one that another tensor has gets a number after it.
            dtype: name of its dtype, as "int8": a key of `TYPES`.
            sizes: its shape for the batch of the file, integers.
            shape: the same with None where a size is open; the default has none open.
            quantization: scales and zero points; None for a tensor that holds no codes.
            variable: whether the tensor keeps its value between runs.

        Returns:
            Index of the tensor in the graph, from 0.
        """
        numbered = (f"{name}_{count}" for count in itertools.count(1))
        name = name if name not in self._names else next(each for each in numbered if each not in self._names)
        self._names.add(name)
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.hasRank, tensor.buffer = name, TYPES[dtype], True, 0
        tensor.shape, tensor.quantization, tensor.isVariable = list(map(int, sizes)), quantization, variable
        if shape is not None and any(size is None for size in shape):
            tensor.shapeSignature = [-1 if size is None else int(size) for size in shape]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(
        self, name: str, values: NDArray, *, quantization: schema.QuantizationParametersT | None = None, bits: int = 8
    ) -> int:
        """Add a constant, or find an equal one that has been added.

        Args:
            name: name of the tensor, where it is new.
            values: array of any shape, of a dtype that is a key of `TYPES`.
            quantization: scales and zero points; None for values that are no codes.
            bits: bits per value: 8 stores the dtype of `values`, 4 stores int8 codes from -8 to 7 as int4.

        Returns:
            Index of the tensor in the graph, from 0.
        """
        sizes, dtype = values.shape, "int4" if bits == 4 else str(values.dtype)
        stored = pack_int4(values) if bits == 4 else np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        digest = hashlib.blake2b(stored.data, digest_size=16).digest()
        scales = () if quantization is None else (quantization.scale.tobytes(), tuple(quantization.zeroPoint))
        axis = 0 if quantization is None else quantization.quantizedDimension
        key = (dtype, sizes, digest, scales, axis)
        if key not in self._constants:
            index = self.tensor(name, dtype, sizes, quantization=quantization)
            self.graph.tensors[index].buffer = self._buffer(stored, digest)
            self._constants[key] = index
        return self._constants[key]

    def _buffer(self, stored: NDArray[np.uint8], digest: bytes) -> int:
        if not len(stored):
            return self._append_buffer(stored)  # a constant of size 0 still needs one
        if digest not in self._buffers:
            self._buffers[digest] = self._append_buffer(stored)
        return self._buffers[digest]

    def _append_buffer(self, stored: NDArray[np.uint8]) -> int:
        buffer = schema.BufferT()
        buffer.data = stored
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def operator(
        self,
        builtin: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Options | None = None,
        intermediates: Sequence[int] | None = None,
    ) -> schema.OperatorT:
        """Add an operator at the end.

        Args:
            builtin: number of the operator in `BuiltinOperator`.
            inputs: indices of tensors, `ABSENT` (-1) for an optional one that is left out.
            outputs: indices of the tensors that it computes.
            options: its options, an object of the schema; None for none.
            intermediates: indices of tensors that the kernel reads only the quantization of; None for none.

        Returns:
            The operator, for the lowest version that has what it needs.
        """
        op = schema.OperatorT()
        op.inputs, op.outputs = list(inputs), list(outputs)
        op.intermediates = None if intermediates is None else list(intermediates)
        if options is not None:
            op.builtinOptions = options
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        tensors = self.graph.tensors
        read = [None if index == ABSENT else tensors[index] for index in inputs]
        version = lowest_version(builtin, read, [tensors[index] for index in outputs], options)
        op.opcodeIndex = self._code(builtin, version)
        self.graph.operators.append(op)
        return op

    def _code(self, builtin: int, version: int) -> int:
        """The index of an operator's code, of the version that all of its uses need."""
        for index, code in enumerate(self.model.operatorCodes):
            if code.builtinCode == builtin:
                code.version = max(code.version, version)
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, LAST_OLD_OPERATOR)
        code.version = version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1


def per_tensor_quantization(grid: Grid) -> schema.QuantizationParametersT:
    """One scale and zero point for a tensor."""
    return quantization_parameters(np.array([grid.scale], np.float32), zero_point=grid.zero_point)


def quantization_parameters(
    scales: NDArray[np.float32], axis: int = 0, zero_point: int = 0
) -> schema.QuantizationParametersT:
    """Scales and zero points of a tensor.

    Args:
        scales: above 0, float32 [channels] along `axis`, or [1] for the whole tensor.
        axis: which axis of the tensor holds the channels.
        zero_point: code that stands for 0, the same for all scales.

    Returns:
        An object of the schema, with one zero point per scale.
    """
    parameters = schema.QuantizationParametersT()
    parameters.scale = np.asarray(scales, np.float32)
    parameters.zeroPoint, parameters.quantizedDimension = np.full(len(scales), zero_point, np.int64), axis
    return parameters


def pack_int4(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Codes of 4 bits, two to a byte, the first in the lower half.

    >>> pack_int4(np.array([1, -1, 7], np.int8)).tolist()
    [241, 7]
    """
    halves = codes.reshape(-1).view(np.uint8) & 0xF
    if len(halves) % 2:
        halves = np.append(halves, np.uint8(0))
    return (halves[0::2] | halves[1::2] << 4).astype(np.uint8)
