"""The state of one lowering: values by key, steps in order, and what operators' functions are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.errors import ModelError
from qat.export.lowering.network import Call, Network
from qat.export.lowering.planned_ops import OPERATOR, Constant, Number, Operand, Step, Value
from qat.export.lowering.weights import Weights
from qat.quantization.keras.layers import Op, RangeLayer


class Lowering:
    """Steps so far, and the value of each of the network's tensors.

    `batch` is the number of samples that the file is written for, which `is_open` or fixed.
    """

    def __init__(self, network: Network, weights: Weights, batch: int | None) -> None:
        self.network, self.weights, self.batch, self.is_open = network, weights, batch or 1, batch is None
        self.steps: list[Step] = []
        self.values: dict[int, Value] = {}
        self.counts = network.read_counts()
        self.taken: set[str] = set()
        self._real: dict[Value, Value] = {}

    def unique(self, name: str) -> str:
        """The name, or with a number behind it if it is taken."""
        candidate, count = name, 0
        while candidate in self.taken:
            count += 1
            candidate = f"{name}_{count}"
        self.taken.add(candidate)
        return candidate

    def entry(self, tensor: Any) -> Value:
        """A model input."""
        shape = tuple(tensor.shape)
        sizes = [self.batch if size is None else size for size in shape]
        return Value([tensor.name], shape, sizes, tensor.dtype.name)

    def step(
        self,
        operator: int,
        inputs: Sequence[Operand | None],
        outputs: Sequence[Value],
        options: Any = None,
        **more: Any,
    ) -> Step:
        """One more operator."""
        made = Step(operator, list(inputs), list(outputs), options, **more)
        self.steps.append(made)
        return made

    def real(self, value: Value, name: str) -> Value:
        """The value in real numbers, by one DEQUANTIZE for all that read it so."""
        if value not in self._real:
            made = Value([self.unique(f"{name}/real")], value.shape, value.sizes, value.dtype)
            made.held.real = True
            self.step(OPERATOR.DEQUANTIZE, [value], [made])
            self._real[value] = made
        return self._real[value]

    def ranged(self, value: Value, layer: RangeLayer, name: str) -> Value:
        """The value on the grid of a range."""
        grid = self.weights.ranges[layer]
        if value.held.is_open and value.dtype == "float32":
            value.held.grid = grid
        if value.grid == grid:
            return value
        made = Value([self.unique(name)], value.shape, value.sizes, "float32")
        made.held.grid = grid
        self.step(OPERATOR.QUANTIZE, [value], [made])
        return made


@dataclass(frozen=True, eq=False)
class Context:
    """What the function of one operator is given: the call, its operands with the constants in their places."""

    lowering: Lowering
    call: Call
    operands: tuple[Operand, ...]

    @property
    def attrs(self) -> dict[str, Any]:
        return self.call.inner.attrs

    @property
    def x(self) -> Value:
        """The first operand, which comes from the network."""
        return self.value(0)

    def value(self, at: int) -> Value:
        operand = self.operands[at]
        if isinstance(operand, Value):
            return operand
        raise ModelError(f"layer {self.call.layer.name!r}: operand {at} of {self.call.inner.op!r} is a constant")

    @property
    def name(self) -> str:
        """Of the call's tensors: by the Keras layer, as `qat.tflite.graph.layer_name` reads it."""
        return f"{self.lowering.network.name}/{self.call.layer.name}"

    def sizes(self, *known: int) -> NDArray[np.int32]:
        return np.array(known, np.int32)

    def constant(self, what: str, values: Any, dtype: Any = np.int32) -> Constant:
        """Sizes, axes and the like."""
        return Constant(f"{self.name}/{what}", np.asarray(values, dtype))

    def result(self, like: Value | None = None, at: int = 0, sizes: Sequence[int] | None = None) -> Value:
        """The value that the call makes in one place; `like` one whose codes it passes on."""
        kept = self.call.kept[at]
        shape = tuple(kept.shape)
        known = self._filled(shape) if sizes is None else tuple(sizes)
        word = getattr(self.call.inner, "op", None) or getattr(self.call.inner, "kind", "lstm")
        name = self.lowering.unique(f"{self.name}/{word}")
        return Value([name], shape, known, kept.dtype.name, like)

    def _filled(self, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        """Open sizes as they are for the file's batch: that of what is read, which may be batch times steps."""
        values = [operand for operand in self.operands if isinstance(operand, Value)]
        found = [v.sizes[at] for v in values for at, size in enumerate(v.shape) if size is None and at < v.rank]
        size = found[0] if found else self.lowering.batch
        return tuple(size if each is None else int(each) for each in shape)

    def step(
        self,
        operator: int,
        inputs: Sequence[Operand | None],
        options: Any = None,
        like: Value | None = None,
        **more: Any,
    ) -> Value:
        """One operator with one result."""
        made = self.result(like)
        self.lowering.step(operator, inputs, [made], options, **more)
        return made


def context(lowering: Lowering, call: Call) -> Context:
    """The call with values and constants as the operands."""
    values = iter(lowering.values[key] for key in call.inputs)
    inner = call.inner
    if not isinstance(inner, Op):
        return Context(lowering, call, tuple(values))
    given = [next(values) if name == "x" else _operand(lowering, call, name) for name in inner.operands]
    return Context(lowering, call, tuple(given))


def _operand(lowering: Lowering, call: Call, name: str) -> Constant | Number:
    values, codes, grid = lowering.weights.operand(call.layer, name)
    tensor = f"{lowering.network.name}/{call.layer.name}/{name}"
    if values.dtype.kind != "f":
        return Constant(tensor, values)
    return Number(tensor, values, grid, codes)
