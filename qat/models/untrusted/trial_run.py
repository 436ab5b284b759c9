"""Run a model of somebody once in the child, where its time or memory depends on the numbers that it computes.

No bound: what depends on the values of its inputs in a way of its own shows itself later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import tensorflow as tf

from qat.json_values import Json
from qat.models.untrusted import allowed
from qat.models.untrusted.graph_ops import PREFIX

LOOPS = ("functions:While", "functions:StatelessWhile")  # kinds of steps of a training program
VALUES = (0.0, 1e4, -1e4)  # that the inputs hold, one after the other
_OPEN = 8  # size of an axis that the model leaves open


def depends_on_numbers(model: Any, config: Json) -> bool:
    """Whether a model has loops, or functions whose results are as large as numbers say that it computes.

    Args:
        model: of either Keras, as it was made in the child.
        config: its checked config, whose training programs are looked through.

    Returns:
        False where all sizes are known once the model is made.
    """
    programs = (name in LOOPS or name.removeprefix(PREFIX) in allowed.SIZED_OPS for name in _program_ops(config))
    return any(programs) or any(map(_has_computed_size, _layers_of(model)))


def run_once(model: Any) -> None:
    """Run a model on small inputs of `VALUES`, and once as in training; what else it raises is for its user to see.

    Args:
        model: of either Keras, with known inputs; one that takes anything but dense numbers is not run.

    Raises:
        MemoryError: a tensor takes more memory than the process may have.
    """
    for value, training in (*((value, False) for value in VALUES), (0.0, True)):
        try:
            with suppress(Exception):  # any layer may fail on inputs as small as these
                inputs = [_filled(each, value) for each in model.inputs]
                _call(model, inputs if len(inputs) > 1 else inputs[0], training)
        except _TooLarge as error:
            raise MemoryError(str(error)) from error


class _TooLarge(BaseException):
    """Not to be taken for one of the exceptions of a layer."""


def _call(model: Any, inputs: Any, training: bool) -> None:
    try:
        model(inputs, training=training)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        raise _TooLarge(str(error)) from error


def _filled(tensor: Any, value: float) -> tf.Tensor:
    sizes = [1, *(size or _OPEN for size in tensor.shape[1:])]
    return tf.cast(tf.fill(sizes, value), tensor.dtype)


def _layers_of(model: Any) -> Iterator[Any]:
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _layers_of(layer)


def _has_computed_size(layer: Any) -> bool:
    """Whether a layer of a TensorFlow function takes a tensor where it takes sizes."""
    name = str(getattr(layer, "symbol", None) or "").rpartition(".")[2]
    if name not in allowed.SIZED_BY_ALL | allowed.SIZED_BY_REST:
        return False
    for node in layer._inbound_nodes:
        sizes = (node.call_args[name in allowed.SIZED_BY_REST :], dict(node.call_kwargs))
        if any(hasattr(each, "type_spec") or tf.is_tensor(each) for each in tf.nest.flatten(sizes)):
            return True
    return False


def _program_ops(config: Json) -> Iterator[str]:
    todo: list[Any] = [config]
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo += value
        elif isinstance(value, Mapping):
            todo += value.values()
        elif isinstance(value, str) and value.startswith((PREFIX, "functions:")):
            yield value
