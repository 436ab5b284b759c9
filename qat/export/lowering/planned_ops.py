"""Operators that are to be written, and the tensors between them, before their scales are all known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.errors import ModelError
from qat.export.lowering.scales import Grid, KernelCodes
from qat.quantization.kernels.narrowest_output import LARGEST_RATIO, LARGEST_RATIO_OF_SQUARES

OPERATOR, FUSED = schema.BuiltinOperator, schema.ActivationFunctionType
REAL_DTYPES = ("float32", "float64")
FUSES_RELU = (
    OPERATOR.ADD,
    OPERATOR.AVERAGE_POOL_2D,
    OPERATOR.CONV_2D,
    OPERATOR.DEPTHWISE_CONV_2D,
    OPERATOR.FULLY_CONNECTED,
    OPERATOR.MAX_POOL_2D,
    OPERATOR.MUL,
    OPERATOR.SUB,
    OPERATOR.TRANSPOSE_CONV,
)


@dataclass(eq=False)
class Representation:
    """How the file holds real numbers: as codes on a `grid`, or as float32 (`is_real`); not known yet if neither."""

    grid: Grid | None = None
    is_real: bool = False

    @property
    def is_open(self) -> bool:
        return self.grid is None and not self.is_real


class Value:
    """One tensor of the file.

    Args:
        names: of the layers that compute it, the last one first.
        shape: None where the size is open.
        sizes: the same with the batch that the file is written for.
        dtype: of the network's tensor: "float32" of codes, too.
        like: a value whose representation it shares.
    """

    def __init__(
        self,
        names: Sequence[str],
        shape: Sequence[int | None],
        sizes: Sequence[int],
        dtype: str,
        like: Value | None = None,
    ) -> None:
        self.names, self.shape, self.sizes, self.dtype = list(names), tuple(shape), tuple(map(int, sizes)), dtype
        self.representation: Representation = Representation() if like is None else like.representation
        self.producer: PlannedOp | None = None

    @property
    def represents_reals(self) -> bool:
        """Whether it stands for real numbers, whatever the file holds."""
        return self.dtype in REAL_DTYPES

    @property
    def grid(self) -> Grid | None:
        return self.representation.grid

    @property
    def known_grid(self) -> Grid:
        """Its grid, which it must have."""
        assert self.grid is not None, self.names
        return self.grid

    @property
    def rank(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True, eq=False)
class Constant:
    """Integers or booleans of an operator: sizes, axes, indices, masks."""

    name: str
    values: NDArray


@dataclass(frozen=True, eq=False)
class Number:
    """Real numbers among an operator's inputs.

    `codes` are on a `grid` of their own; without them, the grid of the operator's result is used.
    """

    name: str
    values: NDArray
    grid: Grid | None = None
    codes: NDArray[np.int8] | None = None


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights of a linear layer; real where there are no `codes`.

    `arrange` brings an array with the output channels last into the operator's layout, whose scales lie along `axis`.
    """

    name: str
    arrange: Callable[[NDArray], NDArray]
    axis: int
    real: NDArray | None = None
    codes: KernelCodes | None = None

    @property
    def values(self) -> NDArray:
        """The stored array, its output channels last."""
        values = self.real if self.codes is None else self.codes.codes
        assert values is not None, self.name
        return values


@dataclass(frozen=True, eq=False)
class Bias:
    """Real numbers, one per channel; stored as int32 with the kernel's scale times that of `source`."""

    name: str
    values: NDArray[np.float32]
    kernel: Kernel
    source: Value


Operand = Value | Constant | Number | Kernel | Bias


class Options(Protocol):
    """One of the schema's `...OptionsT`."""

    def Pack(self, builder: flatbuffers.Builder) -> int: ...


@dataclass(eq=False)
class PlannedOp:
    """One operator that is to be written.

    With `one_grid`, its kernel takes all codes on the grid of the result. `write` writes an operator that needs more
    tensors than its inputs and outputs.
    """

    operator: int
    inputs: list[Operand | None]
    outputs: list[Value]
    options: Options | None = None
    one_grid: bool = False
    write: Callable[[Any, PlannedOp], None] | None = None

    def __post_init__(self) -> None:
        for value in self.outputs:
            value.producer = self

    @property
    def fused_activation(self) -> int | None:
        """The activation that it computes on its result; None where its kernel can compute none."""
        options: schema.AddOptionsT = self.options
        return options.fusedActivationFunction if self.operator in FUSES_RELU else None

    def fuse(self, activation: int) -> None:
        """Let it compute this activation on its result, too."""
        options: schema.AddOptionsT = self.options
        options.fusedActivationFunction = activation

    @property
    def values_read(self) -> list[Value]:
        return list(dict.fromkeys(value for value in self.inputs if isinstance(value, Value)))

    @property
    def computes_in_float(self) -> bool:
        """Whether it computes in float: one of its outputs or, if none represents reals, of its inputs has no grid."""
        results = [value for value in self.outputs if value.represents_reals]
        read = [value for value in self.values_read if value.represents_reals]
        return any(value.grid is None for value in results or read)


def refuse_tiny_sums(ops: Sequence[PlannedOp]) -> None:
    """Refuse sums, and squares of differences, on scales for which LiteRT's kernel ends the process.

    Args:
        ops: the operators of a network, with the grids of all of their tensors.

    Raises:
        ModelError: the scale of a sum is below 2**-19 of an operand's, or that of a square below 2**-12 of its square;
            the layer is named.
    """
    for op in ops:
        if op.operator not in (OPERATOR.ADD, OPERATOR.SUB, OPERATOR.SQUARED_DIFFERENCE) or op.outputs[0].grid is None:
            continue
        scale = op.outputs[0].known_grid.scale
        scales = [each.grid.scale for each in op.inputs if isinstance(each, (Value, Number)) and each.grid]
        largest = max(scales, default=0.0)
        squared = op.operator == OPERATOR.SQUARED_DIFFERENCE
        if largest**2 >= LARGEST_RATIO_OF_SQUARES * scale if squared else largest >= LARGEST_RATIO * scale:
            raise ModelError(
                f"layer {op.outputs[0].names[0]!r} gives numbers up to {255 * scale:.2g} from numbers whose range is "
                f"{255 * largest:.2g} wide; no integer kernel can rescale that much. Its input is probably constant (a "
                "dead layer before it), or its output is clipped to almost nothing (a steep step). Calibrate on "
                "data for which the layer's output varies, clip less steeply, or leave the layer out"
            )
