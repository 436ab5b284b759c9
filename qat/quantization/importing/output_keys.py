"""Outputs of a model that gives other keys in training than at inference: they are matched by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.util.nest import flatten_with_joined_string_paths

from qat.quantization.importing.layer_calls import Trace

_ALONE = "output {!r}: the model gives it in training alone, and here nowhere: let call give it in both modes"


def match_outputs(trained: Trace, inferred: Trace) -> tuple[Any, list[str]]:
    """Bring the outputs of the model's call in training into the order that they have at inference.

    Args:
        trained: the trace in training mode; the outputs of its call get the places of those at inference, None where
            training has none.
        inferred: the trace at inference.

    Returns:
        How training nests the outputs, with the place of each among those at inference, None where both modes give the
        same keys or have none in common; and a line for each output that training alone has.
    """
    theirs, own = _by_path(inferred.nest), _by_path(trained.nest)
    common = own.keys() & theirs.keys()
    if trained.call is None or own.keys() == theirs.keys() or not common:
        return None, []
    given = trained.call.outputs
    trained.call.outputs = [given[own[path]] if path in common else None for path in theirs]
    places = {own[path]: theirs[path] for path in common}
    return _kept(trained.nest, places), [_ALONE.format(path) for path in own if path not in common]


def given_in_training(nest: Any, outputs: Any) -> Any:
    """The outputs that training gives, nested as it nests them.

    Args:
        nest: what `match_outputs` has returned; None where both modes give the same.
        outputs: the outputs at inference, tensors of any shapes, nested as the model nests them.

    Returns:
        Those among them that training gives; all where both modes give the same.
    """
    if nest is None:
        return outputs
    flat = tf.nest.flatten(outputs)
    return tf.nest.map_structure(lambda place: flat[place], nest)


def _by_path(nest: Any) -> dict[str, int]:
    return dict(flatten_with_joined_string_paths(nest))


def _kept(nest: Any, places: dict[int, int]) -> Any:
    """The nest without what has no place, in plain containers."""
    if isinstance(nest, Mapping):
        return {key: made for key, each in nest.items() if (made := _kept(each, places)) is not None}
    if isinstance(nest, list | tuple):
        return [made for each in nest if (made := _kept(each, places)) is not None]
    return places.get(nest)
