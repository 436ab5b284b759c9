"""Recurrent layers with their time steps written out, one after another, as far as that ends in seconds.

Each step becomes ops of the file's own, and layers of the QAT model: time and memory go with steps times ops per step.
So the first step is written, its ops are counted, and a loop that would come to more than `limits.unrolled_ops` stops.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import tensorflow as tf

from qat import limits
from qat.models.keras_types import KerasLayer, TensorNest
from qat.quantization.importing.keras_version import version_of

SECONDS_PER_1000_OPS = 15  # quantize_model takes, on two idle cores
UNCOUNTED = {"Const", "Identity", "NoOp", "ReadVariableOp", "Shape"}  # they make no op of the file


class LongLoop(BaseException):
    """A loop that would be more ops than may be written out. What called the layer names it, and users never see this.

    It is no Exception: of these Keras makes others on their way out.
    """

    def __init__(self, steps: int, each: int, left: int) -> None:
        super().__init__(steps, each, left)
        self.steps, self.each, self.left = steps, each, left
        self.place = tf.compat.v1.get_default_graph().get_name_scope()  # the layer's path, where Keras has opened it

    def advice(self, kind: str) -> str:
        """How long the loop of a layer of this kind is, how long it may be, and the ways out."""
        limit, ops = limits.current().unrolled_ops, self.steps * self.each
        needed = limit - self.left + ops
        before = f", with {limit - self.left:,} taken by loops before it" if self.left < limit else ""
        return (
            f"{kind} over {self.steps:,} time steps is written out as about {ops:,} ops "
            f"({self.each} a step), and limits.unrolled_ops={limit} is {max(0, self.left // self.each):,} steps"
            f"{before}. Take\n"
            "      - shorter windows, or fewer steps: a strided Conv1D before it;\n"
            "      - layers.LSTM(units) with its default activations: one op, over any number of steps;\n"
            "      - dilated Conv1D layers;\n"
            "      - the loop in float, its weights in int8: qat.tflite.convert(model, scheme='dynamic_range');\n"
            f"      - or the time, {SECONDS_PER_1000_OPS} s or more for 1,000 ops: limits.unrolled_ops={needed}, "
            f"in Python with qat.limits.use(qat.limits.Limits(unrolled_ops={needed}))"
        )


@dataclass
class Budget:
    """How many ops the loops of one model have been written out into."""

    spent: int = 0

    def take(self, steps: int, each: int, outermost: bool) -> None:
        """Take the ops of one loop; loops after one that was too long have none left, and take no time either.

        Args:
            steps: number of time steps of the loop.
            each: number of ops per step. Those of loops inside of the step are counted among them.
            outermost: whether the loop lies in no other; an inner one is compared with what is left, and takes nothing.

        Raises:
            LongLoop: they are more than `limits.unrolled_ops` leaves.
        """
        left = limits.current().unrolled_ops - self.spent
        self.spent += steps * each if outermost else 0
        if steps * each > left:
            raise LongLoop(steps, each, left)


@contextlib.contextmanager
def written_out(layer: KerasLayer, budget: Budget, outermost: bool = True) -> Iterator[None]:
    """Inside, a call of the recurrent layer makes no loop.

    Args:
        layer: the recurrent layer that is called inside; it is as before afterwards.
        budget: number of ops that may be made, from which those of the loop are taken.
        outermost: whether the layer lies in no other's loop.

    Yields:
        Nothing.

    Raises:
        LongLoop: that call, after its first step, has more ops than the budget.
    """
    names = [name for name in ("unroll", "_could_use_gpu_kernel", "use_cudnn") if hasattr(layer, name)]
    before = {name: getattr(layer, name) for name in names}
    backend = version_of(layer).rnn_backend
    with counted(budget, outermost, backend), _loops_written_out(before.get("unroll", False), backend):
        for name in names:
            setattr(layer, name, name == "unroll")
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(layer, name, value)


@contextlib.contextmanager
def counted(budget: Budget, outermost: bool = True, backend: ModuleType | None = None) -> Iterator[None]:
    """Inside, a loop that `backend.rnn` writes out takes its ops from the budget, and stops where that has too few.

    Args:
        budget: number of ops that may be made, from which those of the loop are taken.
        outermost: whether such a loop lies in no other.
        backend: the module that has the function `rnn`; None for the one of Keras 2.

    Yields:
        Nothing.

    Raises:
        LongLoop: the call of a layer, after its first step, has more ops than the budget.
    """

    def rnn(original: Callable, step: Callable, inputs: TensorNest, *args: Any, **kwargs: Any) -> Any:
        unrolls = args[4] if len(args) > 4 else kwargs.get("unroll", False)
        steps = tf.nest.flatten(inputs)[0].shape[_time_axis(kwargs)]
        if unrolls and steps is not None:
            step = _counted_step(step, steps, budget, outermost)
        return original(step, inputs, *args, **kwargs)

    with _instead_of_rnn(rnn, backend or version_of(None).rnn_backend):
        yield


@contextlib.contextmanager
def _loops_written_out(unrolled: bool, backend: ModuleType) -> Iterator[None]:
    """Inside, `backend.rnn` writes every step out, also for layers that have no `unroll` (ConvLSTM2D).

    Args:
        unrolled: the layer's own `unroll`. Written out and going backwards, Keras takes the mask in its forward order
            for what it zeroes at the end; in its loop it does not. A layer computes here what it did before.
        backend: the module of that `rnn`.
    """

    def rnn(original: Callable, *args: Any, **kwargs: Any) -> Any:
        if len(args) >= 7:
            return original(*args, **kwargs)
        written = kwargs | {"unroll": True}
        mask = kwargs.get("mask")
        if unrolled or mask is None or not (kwargs.get("go_backwards") and kwargs.get("zero_output_for_mask")):
            return original(*args, **written)
        last, outputs, states = original(*args, **written | {"zero_output_for_mask": False})
        backwards = tf.reverse(mask, [_time_axis(kwargs)])
        outputs = _zero_where_masked(backwards, outputs) if kwargs.get("return_all_outputs", True) else outputs
        return _zero_where_masked(tf.gather(mask, 0, axis=_time_axis(kwargs)), last), outputs, states

    with _instead_of_rnn(rnn, backend):
        yield


@contextlib.contextmanager
def _instead_of_rnn(function: Callable, backend: ModuleType) -> Iterator[None]:
    """`function` is called in place of `backend.rnn`, with what it stands for as its first argument."""
    original = backend.rnn
    backend.rnn = functools.partial(function, original)
    try:
        yield
    finally:
        backend.rnn = original


def _time_axis(kwargs: dict) -> int:
    return 0 if kwargs.get("time_major") else 1


def _counted_step(step: Callable, steps: int, budget: Budget, outermost: bool) -> Callable:
    """The step, which after its first call takes what all of them make from the budget."""
    is_first = True

    def run(*args: Any, **kwargs: Any) -> Any:
        nonlocal is_first
        if not is_first:
            return step(*args, **kwargs)
        is_first, graph = False, tf.compat.v1.get_default_graph()
        before = len(graph.get_operations())
        result = step(*args, **kwargs)
        budget.take(steps, max(1, sum(map(_counts, graph.get_operations()[before:]))), outermost)
        return result

    return run


def _counts(op: tf.Operation) -> bool:
    return op.type not in UNCOUNTED and not any(tensor.dtype == tf.resource for tensor in op.outputs)


def _zero_where_masked(mask: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """x where the mask holds: the mask's axes are x's first ones."""
    for _ in range(x.shape.rank - mask.shape.rank):
        mask = tf.expand_dims(mask, -1)
    return tf.where(mask, x, tf.zeros_like(x))
