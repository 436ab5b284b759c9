"""Under which names a .keras file keeps the variables of each layer: Keras 2.12 to 2.14 gave others than today's.

A name is the way to a layer through the attributes of the model. Keras has changed the order in which it looks at
attributes, and with it which of two ways to the same layer it takes: `_layer_checkpoint_dependencies/dense` became
`layers/dense`, and `forward_layer` of a Bidirectional became `layer`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tf_keras
from numpy.typing import NDArray
from tf_keras.src.saving import saving_lib
from tf_keras.src.utils.generic_utils import to_snake_case

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Habit:
    """How one version of Keras goes through a model."""

    backwards: bool  # through the attributes by name, from the last to the first
    skipped: frozenset[str]
    counts_twice: bool  # a layer that stands twice in a list takes two numbers


_SKIPPED = saving_lib.ATTR_SKIPLIST
_BEFORE = _SKIPPED - {"_layer_checkpoint_dependencies"}
TODAY = Habit(backwards=True, skipped=_SKIPPED, counts_twice=False)  # from 2.15 on
EARLIER = (
    Habit(backwards=False, skipped=_BEFORE, counts_twice=False),  # 2.14
    Habit(backwards=False, skipped=_BEFORE, counts_twice=True),  # 2.12 and 2.13
)


def stored_under(model: tf_keras.Model, arrays: Mapping[str, NDArray], assets: Collection[str]) -> dict[str, str]:
    """Today's name of every layer to the name in the file; empty where they are the same, or no habit explains them.

    Args:
        model: made of the file's config.
        arrays: by path, such as "layers/dense/vars/0".
        assets: paths of vocabularies and the like, such as "layers/string_lookup/vocabulary.txt".
    """
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for path, array in arrays.items():
        owner, _, number = path.rpartition("/")
        shapes.setdefault(owner, {})[number] = array.shape
    owners = {path.rpartition("/")[0] for path in assets}
    today = _names(model, TODAY)
    if _explains(today, shapes, owners):
        return {}
    for habit in EARLIER:
        then = _names(model, habit)
        if _explains(then, shapes, owners):
            return {name: then[key][0] for key, (name, _) in today.items() if key in then}
    return {}


def _explains(names: dict[int, tuple[str, Any]], shapes: Shapes, owners: set[str]) -> bool:
    """Whether the variables of each layer stand under its name, in number and shape, and every asset has a layer."""
    for name, layer in names.values():
        if getattr(type(layer), "load_own_variables", None) is not tf_keras.layers.Layer.load_own_variables:
            continue  # no layer, or one that keeps something else
        own = [*layer._trainable_weights, *layer._non_trainable_weights]
        wanted = {str(number): tuple(variable.shape) for number, variable in enumerate(own)}
        if wanted and shapes.get(f"{name}/vars".lstrip("/")) != wanted:
            return False
    return owners <= {name for name, _ in names.values()}


def _names(model: tf_keras.Model, habit: Habit) -> dict[int, tuple[str, Any]]:
    """Every part of the model that may have variables, by identity, with its name."""
    found: dict[int, tuple[str, Any]] = {}
    _visit(model, "", habit, found)
    return found


def _visit(part: Any, name: str, habit: Habit, found: dict[int, tuple[str, Any]]) -> None:
    if id(part) in found:
        return
    found[id(part)] = name, part
    for attribute, value in _attributes(part, habit):
        inner = f"{name}/{attribute}".lstrip("/")
        if saving_lib._is_keras_trackable(value):
            _visit(value, inner, habit, found)
        elif isinstance(value, list | dict | tuple | set):
            _visit_all(value.values() if isinstance(value, dict) else value, inner, habit, found)


def _visit_all(parts: Collection[Any], name: str, habit: Habit, found: dict[int, tuple[str, Any]]) -> None:
    used: dict[str, int] = {}
    for part in list(parts):
        if not saving_lib._is_keras_trackable(part) or (id(part) in found and not habit.counts_twice):
            continue
        kind = to_snake_case(type(part).__name__)
        used[kind] = used.get(kind, -1) + 1
        _visit(part, f"{name}/{kind}_{used[kind]}" if used[kind] else f"{name}/{kind}", habit, found)


def _attributes(part: Any, habit: Habit) -> Iterator[tuple[str, Any]]:
    for attribute in sorted(dir(part), reverse=habit.backwards):
        if attribute.startswith("__") or attribute in habit.skipped:
            continue
        try:
            value = getattr(part, attribute)
        except Exception:  # as Keras does: a property may refuse, of a layer that is not built for instance
            continue
        yield attribute, value
