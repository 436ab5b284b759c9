"""In which arithmetic a call computes: the deployed kernels', to the last bit, or fake quantization in float32.

| call | arithmetic |
|---|---|
| training | fake quantization |
| `predict`, `evaluate`, the self-check of a file | `integer_arithmetic()`, in NumPy where it runs op by op |
| the model itself at inference | `integer_arithmetic(with_gradients=True)` |
| traced for a file | fake quantization |
| float64 | `in_reals`: as the layers say, no kernel is imitated |
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array

_integer_arithmetic: ContextVar[bool | None] = ContextVar("integer_arithmetic", default=None)  # None: nobody has said
_with_gradients: ContextVar[bool] = ContextVar("with_gradients", default=False)
_in_numpy: ContextVar[bool] = ContextVar("in_numpy", default=False)


@contextlib.contextmanager
def integer_arithmetic(with_gradients: bool = False, in_numpy: bool = False) -> Iterator[None]:
    """Calls traced inside compute as the deployed kernels do, to the last bit.

    Without it a float sum falls on the other side of a tie once in some 100,000 codes, and a deep network multiplies
    that: after 27 layers of MobileNetV1 3 % of the codes differ.

    Source: each kernel names its own, in `qat.quantization.kernels`.

    Args:
        with_gradients: also compute each op by fake quantization, which a gradient then goes through.
        in_numpy: what is called op by op gives NumPy arrays, without gradients, in a fraction of TensorFlow's time for
            single ops.

    Yields:
        Nothing; what held before holds again after the block.
    """
    tokens = _integer_arithmetic.set(True), _with_gradients.set(with_gradients), _in_numpy.set(in_numpy)
    try:
        yield
    finally:
        _in_numpy.reset(tokens[2])
        _with_gradients.reset(tokens[1])
        _integer_arithmetic.reset(tokens[0])


@contextlib.contextmanager
def fake_quant_arithmetic() -> Iterator[None]:
    """Calls at inference inside compute as a training step does, by fake quantization in float32: what a step of
    training computes, but with the statistics and ranges of inference."""
    token = _integer_arithmetic.set(False)
    try:
        yield
    finally:
        _integer_arithmetic.reset(token)


@contextlib.contextmanager
def in_reals(dtype: str) -> Iterator[None]:
    """Calls traced inside compute in this dtype as it is: kernels' arithmetic is imitated in float32 alone."""
    token = _integer_arithmetic.set(_integer_arithmetic.get() and dtype == "float32")
    try:
        yield
    finally:
        _integer_arithmetic.reset(token)


def in_integers() -> bool:
    """Whether calls traced now are to compute as the deployed kernels do."""
    return bool(_integer_arithmetic.get())


def in_numpy() -> bool:
    """Whether calls now are to compute in NumPy."""
    return bool(_in_numpy.get() and _integer_arithmetic.get() and tf.executing_eagerly())


def settled(value: Array | Sequence[Array]) -> Any:
    """A tensor, or several; as NumPy arrays where calls compute in NumPy."""
    return arrays.as_arrays(value) if in_numpy() else value


def arithmetic_is_chosen() -> bool:
    """Whether somebody around this call has said in which arithmetic it is to compute."""
    return _integer_arithmetic.get() is not None


def with_gradients() -> bool:
    """Whether calls traced now, which compute as the deployed kernels do, are to have gradients."""
    return _with_gradients.get()
