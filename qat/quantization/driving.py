"""Float models of a class with its own `train_step`, `test_step`, `compile` or metrics: they drive the quantized graph.

The quantized model gets a class made from the methods of the float model's, in their order of inheritance, above
`QatModel`: `self(x, training=True)` in them is the quantized graph. The float model's class stays as it is.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterator
from typing import Any

import tf_keras
from tf_keras.src.engine.functional import Functional
from tf_keras.src.saving import object_registration

from qat.errors import ModelError, TrainingSemanticsWarning

KERAS_OWN = (tf_keras.Model, tf_keras.Sequential, Functional)
GRAPH = {"__init__", "__new__", "call", "__call__", "build", "get_config", "from_config", "summary", "save"}
NO_METHODS = {"__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "__classcell__", "__annotations__"}
DRIVERS = {
    "train_step",
    "test_step",
    "predict_step",
    "compile",
    "compute_loss",
    "compute_metrics",
    "metrics",
    "fit",
    "evaluate",
    "predict",
    "make_train_function",
    "make_test_function",
    "make_predict_function",
}


def own_classes(model_class: type) -> list[type]:
    """The classes of the user's that a model class is made of, the most general first."""
    found = []
    for each in model_class.__mro__:
        if each in KERAS_OWN or each.__module__.startswith(("tf_keras.", "qat.quantization.")):
            break
        found.append(each)
    return found[::-1]


def drives_itself(model: tf_keras.Model) -> bool:
    """Whether the model's class says how it is trained or evaluated."""
    return any(DRIVERS & set(vars(each)) for each in own_classes(type(model)))


def driven_class(base: type, model_class: type, parts: dict[str, str]) -> type:
    """`base` under the methods of `model_class` that do not make its graph.

    Args:
        base: `QatModel`.
        model_class: the float model's.
        parts: attributes of the float model that are layers, each with its class' name: the quantized model has one
            graph and none of these.
    """
    made = base
    for each in own_classes(model_class):
        made = _copied(each, made)
    for name, kind in parts.items():
        if name not in vars(made):
            setattr(made, name, _missing(model_class.__name__, name, kind))
    if made is not base:
        made.__name__, made.__qualname__, made.__module__ = base.__name__, base.__qualname__, base.__module__
        made.driver = model_class.__name__
        object_registration._GLOBAL_CUSTOM_NAMES[made] = object_registration.get_registered_name(base)
    return made


def _copied(source: type, above: type) -> type:
    members = {n: v for n, v in vars(source).items() if n not in GRAPH | NO_METHODS}
    made = type(source.__name__, (above,), {})
    for name, value in members.items():
        setattr(made, name, _rebound(value, made))
    return made


def _rebound(value: Any, owner: type) -> Any:
    """A member of a class for another one: `super()` in it is that of the other."""
    if isinstance(value, types.FunctionType):
        return _function(value, owner)
    if isinstance(value, property):
        return property(*(each and _function(each, owner) for each in (value.fget, value.fset, value.fdel)))
    if isinstance(value, (staticmethod, classmethod)) and isinstance(value.__func__, types.FunctionType):
        return type(value)(_function(value.__func__, owner))
    return value


def _function(function: Any, owner: type) -> Any:
    inner = getattr(function, "__wrapped__", None)
    if not isinstance(function, types.FunctionType) or inner is not None:
        return function
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    closure = tuple(types.CellType(owner) if name == "__class__" else cell for name, cell in cells)
    made = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, closure or None
    )
    made.__kwdefaults__, made.__doc__ = function.__kwdefaults__, function.__doc__
    return made


def _missing(model: str, name: str, kind: str) -> property:
    def refuse(self: Any) -> Any:
        raise ModelError(
            f"{model}.{name} ({kind}) is a part of the float model, and the quantized model is one graph without such "
            f"parts: let the training step call the model itself, or quantize the part by itself "
            f"(quantize_model(model.{name}, ...)) and train that"
        )

    return property(refuse)


def parts_of(model: tf_keras.Model) -> dict[str, str]:
    """Attributes of a model of the user's that are layers or models, each with its class' name."""
    if not own_classes(type(model)):
        return {}
    held = {name: value for name, value in vars(model).items() if not name.startswith("_")}
    layers = {n: v for n, v in held.items() if isinstance(v, tf_keras.layers.Layer) and not _is_metric(v)}
    return {name: type(value).__name__ for name, value in layers.items()}


def carried_attributes(model: tf_keras.Model, usual: set[str]) -> Iterator[tuple[str, Any]]:
    """What else the user's class has put into its instance: numbers, functions, losses; metrics as fresh ones."""
    if not own_classes(type(model)):
        return
    for name, value in vars(model).items():
        if name.startswith("_") or name in usual:
            continue
        if _is_metric(value):
            yield name, _fresh(value)
        elif not isinstance(value, tf_keras.layers.Layer):
            yield name, value


def _is_metric(value: Any) -> bool:
    return isinstance(value, tf_keras.metrics.Metric)


def _fresh(metric: Any) -> Any:
    try:
        return type(metric).from_config(metric.get_config())
    except (TypeError, NotImplementedError):
        return metric


def found_driver(name: str, custom_objects: dict | None) -> type | None:
    """The class of this name that the caller has given to Keras; None, said, where there is none."""
    known = (custom_objects or {}).get(name) or object_registration.get_registered_object(name)
    if known is None:
        warnings.warn(
            f"the model was trained by a class of its own, {name}, which is not known here: it is loaded without its "
            f"train_step, losses and metrics. Give load_model(..., custom_objects={{{name!r}: {name}}}) to have them",
            TrainingSemanticsWarning,
            stacklevel=4,
        )
    return known
