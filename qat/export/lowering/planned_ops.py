"""Operators that are to be written, and the tensors between them, before their scales are all known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from qat.export.lowering.scales import Grid, KernelCodes

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
    """How real numbers stand in the file: codes on a `grid`, or as they are (`real`); not known yet if neither."""

    grid: Grid | None = None
    real: bool = False

    @property
    def is_open(self) -> bool:
        return self.grid is None and not self.real


class Value:
    """One tensor of the file.

    Args:
        names: of the layers that make it, the last one first.
        shape: None where the size is open.
        sizes: the same with the batch that the file is written for.
        dtype: of the network's tensor: "float32" of codes, too.
        like: a value whose codes it passes on.
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
        self.held: Representation = Representation() if like is None else like.held
        self.producer: Step | None = None

    @property
    def stands_for_reals(self) -> bool:
        """Whether it stands for real numbers, whatever the file holds."""
        return self.dtype in REAL_DTYPES

    @property
    def grid(self) -> Grid | None:
        return self.held.grid

    @property
    def on_grid(self) -> Grid:
        """Its grid, which it must have."""
        assert self.grid is not None, self.names
        return self.grid

    @property
    def rank(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True, eq=False)
class Constant:
    """Numbers that stay as they are: sizes, axes, indices, masks."""

    name: str
    values: NDArray


@dataclass(frozen=True, eq=False)
class Number:
    """Real numbers among an operator's inputs.

    `codes` are theirs on a `grid` of their own; without them, they go on the grid of the operator's result.
    """

    name: str
    values: NDArray
    grid: Grid | None = None
    codes: NDArray[np.int8] | None = None


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights of a linear layer; `arrange` puts an array with the output channels last as the operator wants it, whose
    scales lie along `axis`. `values` are real where there are no `codes`."""

    name: str
    arrange: Callable[[NDArray], NDArray]
    axis: int
    real: NDArray | None = None
    codes: KernelCodes | None = None

    @property
    def values(self) -> NDArray:
        """What is stored, its output channels last."""
        held = self.real if self.codes is None else self.codes.codes
        assert held is not None, self.name
        return held


@dataclass(frozen=True, eq=False)
class Bias:
    """One number a channel, real; int32 in steps of the kernel's scale times that of `source`."""

    name: str
    values: NDArray[np.float32]
    kernel: Kernel
    source: Value


Operand = Value | Constant | Number | Kernel | Bias


@dataclass(eq=False)
class Step:
    """One operator.

    With `one_grid`, its kernel takes all codes on the grid of the result; `write` is how it is written where it needs
    more tensors than it reads and makes.
    """

    operator: int
    inputs: list[Operand | None]
    outputs: list[Value]
    options: Any = None
    one_grid: bool = False
    write: Callable[[Any, Step], None] | None = None

    def __post_init__(self) -> None:
        for value in self.outputs:
            value.producer = self

    @property
    def values_read(self) -> list[Value]:
        return list(dict.fromkeys(value for value in self.inputs if isinstance(value, Value)))

    @property
    def in_reals(self) -> bool:
        """Whether it computes with real numbers: something that it gives or, where that is none, reads is real."""
        results = [value for value in self.outputs if value.stands_for_reals]
        read = [value for value in self.values_read if value.stands_for_reals]
        return any(value.grid is None for value in results or read)
