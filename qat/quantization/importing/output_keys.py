"""Outputs of a model that gives other keys in training than at inference: they are matched by their keys.

Those of lists and tuples are not: which of two outputs training leaves out, or where it adds one, cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.util.nest import flatten_with_tuple_paths

from qat.quantization.importing.layer_calls import Trace

Path = tuple[tuple[bool, Any], ...]  # each step to an output: whether it is a mapping's key; the key or the number

_ALONE = "output {!r}: the model gives it in training alone, and here nowhere: let call give it in both modes"


def match_outputs(trained: Trace, inferred: Trace) -> tuple[Any, list[str]]:
    """Bring the outputs of the model's call in training into the order that they have at inference.

    Args:
        trained: the trace in training mode; the outputs of its call get the places of those at inference, None where
            training has none.
        inferred: the trace at inference.

    Returns:
        How training nests the outputs, with the place of each among those at inference, None where both modes give the
        same, have no key in common, or differ in lists or tuples; and a line for each output that training alone has.
    """
    theirs, own = _by_path(inferred.nest), _by_path(trained.nest)
    common = own.keys() & theirs.keys()
    if trained.call is None or own.keys() == theirs.keys() or not common or _differ_by_number(own, theirs):
        return None, []
    given = trained.call.outputs
    trained.call.outputs = [given[own[path]] if path in common else None for path in theirs]
    places = {own[path]: theirs[path] for path in common}
    return _kept(trained.nest, places), [_ALONE.format(_spelled(path)) for path in own if path not in common]


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


def _by_path(nest: Any) -> dict[Path, int]:
    """By the path to each leaf, with whether each step of it is a key: the leaf, the place of an output."""
    return {_steps(nest, path): place for path, place in flatten_with_tuple_paths(nest)}


def _steps(nest: Any, path: tuple) -> Path:
    found = []
    for step in path:
        by_key = isinstance(nest, Mapping)
        found.append((by_key, step))
        nest = nest[step] if by_key or isinstance(step, int) else getattr(nest, step)
    return tuple(found)


def _differ_by_number(own: Iterable[Path], theirs: Iterable[Path]) -> bool:
    """Whether there is a list or tuple in both modes, or in one of them in the other's place, that gives others."""
    inner = [{path[:at] for path in paths for at in range(len(path))} for paths in (own, theirs)]
    both = inner[0] & inner[1]
    return any(not path[at][0] and path[:at] in both for path in {*own} ^ {*theirs} for at in range(len(path)))


def _spelled(path: Path) -> str:
    return "/".join(str(step) for _, step in path)


def _kept(nest: Any, places: dict[int, int]) -> Any:
    """The nest without what has no place, nor what is left empty by that, in plain containers."""
    if isinstance(nest, Mapping):
        return {key: made for key, each in nest.items() if (made := _kept(each, places)) is not None} or None
    if isinstance(nest, list | tuple):
        return [made for each in nest if (made := _kept(each, places)) is not None] or None
    return places.get(nest)
