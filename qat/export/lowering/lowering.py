"""The state of one lowering: values by key, planned operators in order, and the context of an operator's function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from qat.errors import ModelError
from qat.export.lowering.network import Call, Network
from qat.export.lowering.planned_ops import OPERATOR, Constant, Number, Operand, Options, PlannedOp, Value
from qat.export.lowering.weights import Weights
from qat.models.keras_types import KerasTensor
from qat.quantization.keras.op import Op
from qat.quantization.keras.range_layer import RangeLayer


class Lowering:
    """The operators planned so far, and the value of each of the network's tensors.

    `batch` is the number of samples that the file is written for, which `is_open` or fixed.
    """

    def __init__(self, network: Network, weights: Weights, batch: int | None) -> None:
        self.network, self.weights, self.batch, self.is_open = network, weights, batch or 1, batch is None
        self.ops: list[PlannedOp] = []
        self.values: dict[int, Value] = {}
        self.counts = network.read_counts()
        self.taken: set[str] = set()
        self._dequantized: dict[Value, Value] = {}

    def unique(self, name: str) -> str:
        """The name, with a number after it if it is taken."""
        candidate, count = name, 0
        while candidate in self.taken:
            count += 1
            candidate = f"{name}_{count}"
        self.taken.add(candidate)
        return candidate

    def add_input(self, tensor: KerasTensor) -> Value:
        """The value of a model input."""
        shape = tuple(tensor.shape)
        sizes = [self.batch if size is None else size for size in shape]
        return Value([tensor.name], shape, sizes, tensor.dtype.name)

    def add_op(
        self,
        operator: int,
        inputs: Sequence[Operand | None],
        outputs: Sequence[Value],
        options: Options | None = None,
        **more: Any,
    ) -> PlannedOp:
        """Plan one more operator.

        Args:
            operator: number of the operator in `BuiltinOperator`.
            inputs: its operands, in the operator's order; None for an optional one that is left out.
            outputs: the values that it computes, in the operator's order.
            options: its options, an object of the schema; None for none.
            more: fields `one_grid` and `write` of `PlannedOp`.

        Returns:
            The planned operator, the last of `ops`.
        """
        op = PlannedOp(operator, list(inputs), list(outputs), options, **more)
        self.ops.append(op)
        return op

    def dequantize(self, value: Value, name: str) -> Value:
        """The value as float32, by one DEQUANTIZE for all consumers.

        Args:
            value: int8 codes on a grid, of any shape.
            name: name of the layer, for the tensor's name.

        Returns:
            A float32 value of the same shape.
        """
        if value not in self._dequantized:
            result = Value([self.unique(f"{name}/real")], value.shape, value.sizes, value.dtype)
            result.representation.is_real = True
            self.add_op(OPERATOR.DEQUANTIZE, [value], [result])
            self._dequantized[value] = result
        return self._dequantized[value]

    def quantize(self, value: Value, layer: RangeLayer, name: str) -> Value:
        """The value on the grid of a range, by a QUANTIZE if it has another representation already.

        Args:
            value: real numbers of any shape, to quantize; one whose representation is open takes the grid.
            layer: the layer whose (min, max) gives the grid.
            name: name of the tensor, where a new one is needed.

        Returns:
            A value on the grid, of the same shape.
        """
        grid = self.weights.ranges[layer]
        if value.representation.is_open and value.dtype == "float32":
            value.representation.grid = grid
        if value.grid == grid:
            return value
        result = Value([self.unique(name)], value.shape, value.sizes, "float32")
        result.representation.grid = grid
        self.add_op(OPERATOR.QUANTIZE, [value], [result])
        return result


@dataclass(frozen=True, eq=False)
class Context:
    """The argument of an operator's function: the call, and its operands, constants included."""

    lowering: Lowering
    call: Call
    operands: tuple[Operand, ...]

    @property
    def attrs(self) -> dict[str, Any]:
        return self.call.inner.attrs

    @property
    def x(self) -> Value:
        """The first operand, a tensor of the network."""
        return self.value(0)

    def value(self, index: int) -> Value:
        operand = self.operands[index]
        if isinstance(operand, Value):
            return operand
        raise ModelError(f"layer {self.call.layer.name!r}: operand {index} of {self.call.inner.op!r} is a constant")

    @property
    def name(self) -> str:
        """Prefix of the names of the call's tensors: by the Keras layer, as `qat.tflite.graph.layer_name` reads it."""
        return f"{self.lowering.network.name}/{self.call.layer.name}"

    def constant(self, name: str, values: ArrayLike, dtype: type[np.generic] = np.int32) -> Constant:
        """A constant operand that is no real number: sizes, axes and the like.

        Args:
            name: what the operand is, as "axes", for the tensor's name.
            values: integers, or nested lists of them, in the shape of the operand.
            dtype: NumPy's type of the tensor, int32 for most operands.

        Returns:
            The operand, of the shape of `values`.
        """
        return Constant(f"{self.name}/{name}", np.asarray(values, dtype))

    def result(self, like: Value | None = None, index: int = 0, sizes: Sequence[int] | None = None) -> Value:
        """A value for one output of the call.

        Args:
            like: a value whose representation it shares; None leaves its own open.
            index: number of the output, from 0.
            sizes: its shape for the batch of the file; None takes it from the Keras tensor.

        Returns:
            The value, with a name of its own; its shape has None where a size is open.
        """
        output = self.call.keras_outputs[index]
        shape = tuple(output.shape)
        known = self._fill_open_sizes(shape) if sizes is None else tuple(sizes)
        op = getattr(self.call.inner, "op", None) or getattr(self.call.inner, "kind", "lstm")
        name = self.lowering.unique(f"{self.name}/{op}")
        return Value([name], shape, known, output.dtype.name, like)

    def _fill_open_sizes(self, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        """A shape with its open sizes replaced by that of the operands, which may be batch times time steps."""
        values = [operand for operand in self.operands if isinstance(operand, Value)]
        known = [v.sizes[axis] for v in values for axis, size in enumerate(v.shape) if size is None and axis < v.rank]
        size = known[0] if known else self.lowering.batch
        return tuple(size if each is None else int(each) for each in shape)

    def add_op(
        self,
        operator: int,
        inputs: Sequence[Operand | None],
        options: Options | None = None,
        like: Value | None = None,
        **more: Any,
    ) -> Value:
        """Plan an operator with one output.

        Args:
            operator: number of the operator in `BuiltinOperator`.
            inputs: its operands, in the operator's order; None for an optional one that is left out.
            options: its options, an object of the schema; None for none.
            like: a value whose representation the output shares; None leaves it open.
            more: fields `one_grid` and `write` of `PlannedOp`.

        Returns:
            The value of its output, of the shape of the Keras tensor.
        """
        result = self.result(like)
        self.lowering.add_op(operator, inputs, [result], options, **more)
        return result


def make_context(lowering: Lowering, call: Call) -> Context:
    """The context of a call.

    Args:
        lowering: what has been lowered so far.
        call: a call of a layer, whose inputs have values.

    Returns:
        The call with its operands in the op's order: values, whose shapes have None where a size is open, and
        constants.
    """
    values = iter(lowering.values[key] for key in call.inputs)
    inner = call.inner
    if not isinstance(inner, Op):
        return Context(lowering, call, tuple(values))
    operands = [next(values) if name == "x" else _operand(lowering, call, name) for name in inner.operands]
    return Context(lowering, call, tuple(operands))


def _operand(lowering: Lowering, call: Call, name: str) -> Constant | Number:
    values, codes, grid = lowering.weights.operand(call.layer, name)
    tensor = f"{lowering.network.name}/{call.layer.name}/{name}"
    if values.dtype.kind != "f":
        return Constant(tensor, values)
    return Number(tensor, values, grid, codes)
