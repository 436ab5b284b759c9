"""What the TFLite converter is not given of a QAT model, and what goes into the file in its place.

That is ops which it cannot make, and kernels, on which it would spend most of its time and memory. While a model is
traced for conversion, layers say here what stands for what: a product that can be told from every other one by the size
of its weights. `qat.tflite` puts the thing itself into the finished file. NumPy only: the two sides need not know each
other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FIRST_MARK = 1000.0  # a weight that no trained layer has


@dataclass(frozen=True)
class LstmWeights:
    """Of one LSTM, the four gates in the order input, forget, cell, output.

    `kernel` and `recurrent` are int8 [units, inputs] and [units, units] a gate, each with one scale and the zero point
    0; `bias` is real, [units] a gate. The cell's scale is 2^(cell_bits - 15). `scale` and `zero_point` are the state's,
    which is int8 and what comes out.
    """

    kernel: list[NDArray[np.int8]]
    recurrent: list[NDArray[np.int8]]
    bias: list[NDArray[np.float32]]
    kernel_scales: list[float]
    recurrent_scales: list[float]
    cell_bits: int
    scale: float
    zero_point: int


@dataclass(frozen=True)
class LstmStandIn:
    """One product in the traced graph, `[1, steps, inputs]` to `[1, steps, units]`, all of whose weights are of size
    `mark`; `weights` is called once the conversion is over."""

    mark: float
    layer: str
    steps: int
    weights: Callable[[], LstmWeights]


@dataclass(frozen=True)
class KernelWeights:
    """Of one convolution or dense layer.

    `codes` is int8 with the output channels last (of a depthwise kernel [height, width, 1, channels]), on one scale for
    each of them or on one in all, zero point 0; `bias` is real, [channels], or None.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32] | None


@dataclass(frozen=True)
class KernelStandIn:
    """One call of a layer in the traced graph, whose ops `kernel` and `bias` give its weights as they are quantized.

    The graph that is converted has constants there instead: a kernel all of whose weights are `mark`, on one scale, and
    any bias. `weights` is called once the conversion is over.
    """

    mark: float
    layer: str
    kernel: str
    bias: str | None
    weights: Callable[[], KernelWeights]


class StandInLost(Exception):
    """The converter has given a stand-in another form."""


@dataclass
class StandIns:
    """What was put in place during one tracing."""

    lstms: list[LstmStandIn] = field(default_factory=list)
    kernels: list[KernelStandIn] = field(default_factory=list)

    def mark(self) -> float:
        """The size of the weights of the next one."""
        return FIRST_MARK + len(self.lstms) + len(self.kernels)


_current: ContextVar[StandIns | None] = ContextVar("stand_ins", default=None)


@contextlib.contextmanager
def standing_in() -> Iterator[StandIns]:
    """Calls traced inside are for a file: layers say what stands, or is to stand, for what."""
    made = StandIns()
    token = _current.set(made)
    try:
        yield made
    finally:
        _current.reset(token)


def stand_ins() -> StandIns | None:
    """Where to say what stands for what; None outside of a conversion."""
    return _current.get()
