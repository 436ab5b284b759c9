"""Under which names a .keras file stores the variables of each layer: Keras 2.12 to 2.14 used others than Keras today.

A name is the path to a layer through the attributes of the model. Keras has changed the order in which it visits
attributes, and with it which of two paths to the same layer it takes: `_layer_checkpoint_dependencies/dense` became
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
class TraversalOrder:
    """The order in which one version of Keras visits the attributes of a model."""

    backwards: bool  # attributes by name, from the last to the first
    skipped: frozenset[str]
    counts_twice: bool  # a layer that is twice in a list takes two numbers


_SKIPPED = saving_lib.ATTR_SKIPLIST
_BEFORE = _SKIPPED - {"_layer_checkpoint_dependencies"}
CURRENT_ORDER = TraversalOrder(backwards=True, skipped=_SKIPPED, counts_twice=False)  # from 2.15 on
EARLIER_ORDERS = (
    TraversalOrder(backwards=False, skipped=_BEFORE, counts_twice=False),  # 2.14
    TraversalOrder(backwards=False, skipped=_BEFORE, counts_twice=True),  # 2.12 and 2.13
)


def map_group_names(model: tf_keras.Model, arrays: Mapping[str, NDArray], assets: Collection[str]) -> dict[str, str]:
    """Map the current name of every layer to its name in the file.

    Args:
        model: the model that was made of the file's config.
        arrays: weights of any shapes and dtypes, by path in the file, such as "layers/dense/vars/0".
        assets: paths of vocabularies and the like in the file, such as "layers/string_lookup/vocabulary.txt".

    Returns:
        Current layer name to name in the file; empty where they agree, or no known order leads to those of the file.
    """
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for path, array in arrays.items():
        owner, _, number = path.rpartition("/")
        shapes.setdefault(owner, {})[number] = array.shape
    owners = {path.rpartition("/")[0] for path in assets}
    current = _names(model, CURRENT_ORDER)
    if _matches(current, shapes, owners):
        return {}
    for order in EARLIER_ORDERS:
        earlier = _names(model, order)
        if _matches(earlier, shapes, owners):
            return {name: earlier[key][0] for key, (name, _) in current.items() if key in earlier}
    return {}


def _matches(names: dict[int, tuple[str, Any]], shapes: Shapes, owners: set[str]) -> bool:
    """Whether the variables of each layer stand under its name, in number and shape, and every asset has a layer."""
    for name, layer in names.values():
        if getattr(type(layer), "load_own_variables", None) is not tf_keras.layers.Layer.load_own_variables:
            continue  # no layer, or one that keeps something else
        own = [*layer._trainable_weights, *layer._non_trainable_weights]
        expected = {str(number): tuple(variable.shape) for number, variable in enumerate(own)}
        if expected and shapes.get(f"{name}/vars".lstrip("/")) != expected:
            return False
    return owners <= {name for name, _ in names.values()}


def _names(model: tf_keras.Model, order: TraversalOrder) -> dict[int, tuple[str, Any]]:
    """Every part of the model that may have variables, by identity, with its name."""
    names_by_id: dict[int, tuple[str, Any]] = {}
    _visit(model, "", order, names_by_id)
    return names_by_id


def _visit(part: object, name: str, order: TraversalOrder, names_by_id: dict[int, tuple[str, Any]]) -> None:
    if id(part) in names_by_id:
        return
    names_by_id[id(part)] = name, part
    for attribute, value in _attributes(part, order):
        inner = f"{name}/{attribute}".lstrip("/")
        if saving_lib._is_keras_trackable(value):
            _visit(value, inner, order, names_by_id)
        elif isinstance(value, list | dict | tuple | set):
            _visit_collection(value.values() if isinstance(value, dict) else value, inner, order, names_by_id)


def _visit_collection(
    parts: Collection[Any], name: str, order: TraversalOrder, names_by_id: dict[int, tuple[str, Any]]
) -> None:
    used: dict[str, int] = {}
    for part in list(parts):
        if not saving_lib._is_keras_trackable(part) or (id(part) in names_by_id and not order.counts_twice):
            continue
        kind = to_snake_case(type(part).__name__)
        used[kind] = used.get(kind, -1) + 1
        _visit(part, f"{name}/{kind}_{used[kind]}" if used[kind] else f"{name}/{kind}", order, names_by_id)


def _attributes(part: object, order: TraversalOrder) -> Iterator[tuple[str, Any]]:
    for attribute in sorted(dir(part), reverse=order.backwards):
        if attribute.startswith("__") or attribute in order.skipped:
            continue
        try:
            value = getattr(part, attribute)
        except Exception:  # as Keras does: a property may refuse, of a layer that is not built for instance
            continue
        yield attribute, value
