"""Run a model of somebody once in the child, where its time and memory may depend on the numbers that it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import tensorflow as tf

from qat.json_values import Json
from qat.models.untrusted.graph_ops import PREFIX

LOOPS = ("functions:While", "functions:StatelessWhile")  # kinds of steps of a training program
_OPEN = 8  # size of an axis that the model leaves open
_MAKING = frozenset(  # functions and ops, in small letters without _, whose operands say how large the result is
    (
        *("fill", "tile", "range", "repeat", "onehot", "broadcastto", "linspace", "eye", "pad", "padv2", "mirrorpad"),
        *("scatternd", "sequencemask", "resize", "resizebilinear", "resizenearestneighbor", "resizebicubic", "zeros"),
        *(
            "resizearea",
            "unsortedsegmentsum",
            "unsortedsegmentmax",
            "unsortedsegmentmin",
            "unsortedsegmentprod",
            "ones",
        ),
        *("bincount", "cropandresize", "randomuniform", "randomstandardnormal", "truncatednormal", "tensorlistreserve"),
        *("conv2dbackpropinput", "conv2dtranspose", "ensureshape", "sparsetodense", "diag", "matrixdiag", "meshgrid"),
    )
)


def depends_on_numbers(config: Json) -> bool:
    """Whether a checked config has loops, or ops whose operands say how large their results are."""
    return any(name in LOOPS or _plain(name) in _MAKING for name in _named_ops(config))


def run_once(model: Any) -> None:
    """Run a model on zeros and on ones, as at inference and as in training; what it raises is for its user to see.

    Args:
        model: of either Keras, with known inputs.

    Raises:
        MemoryError: a tensor takes more memory than the process may have.
    """
    for fill in (tf.zeros, tf.ones):
        inputs = [fill([size or _OPEN for size in (1, *each.shape[1:])], each.dtype) for each in model.inputs]
        for training in (False, True):
            try:
                with suppress(tf.errors.InvalidArgumentError, ValueError, TypeError):
                    model(inputs if len(inputs) > 1 else inputs[0], training=training)
            except tf.errors.ResourceExhaustedError as error:
                raise MemoryError(str(error)) from error


def _named_ops(config: Json) -> Iterator[str]:
    todo: list[Any] = [config]
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo += value
        elif isinstance(value, Mapping):
            todo += value.values()
            yield from (str(value.get(key)) for key in ("function", "op") if isinstance(value.get(key), str))
        elif isinstance(value, str) and value.startswith((PREFIX, "functions:")):
            yield value


def _plain(name: str) -> str:
    return name.removeprefix(PREFIX).rpartition(".")[2].lower().replace("_", "")
