"""Float models of a class with its own `train_step`, `test_step`, `compile` or metrics: they drive the quantized graph.

The quantized model gets a class in which the methods of the float model's stand above `QatModel`, in their order of
inheritance: `self(x, training=True)` in them is the quantized graph. The float model's class stays as it is.
"""

from __future__ import annotations

import dis
import functools
import inspect
import types
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
import tf_keras
from keras.src.models.functional import Functional as Functional3
from keras.src.models.model import inject_functional_model_class as inject_functional_model_class3
from keras.src.saving import object_registration as object_registration3
from tf_keras.src.engine.functional import Functional
from tf_keras.src.engine.training import inject_functional_model_class
from tf_keras.src.saving import object_registration

from qat.errors import ModelError, TrainingSemanticsWarning
from qat.models.keras_types import KerasModel, TensorNest
from qat.quantization.keras.arithmetic import integer_arithmetic
from qat.warning import warn

KERAS_OWN = (tf_keras.Model, tf_keras.Sequential, Functional, keras.Model, keras.Sequential, Functional3)
OWN_MODULES = ("tf_keras.", "keras.", "qat.quantization.")
GRAPH = {"__init__", "__new__", "call", "__call__", "build", "get_config", "from_config", "summary", "save"}
KERAS_PRIVATE = {"_self_tracked_trackables", "_layers", "_input_layers", "_output_layers"}  # they hold layers too
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


class MissingAttributeError(ModelError, AttributeError):
    """An attribute that the float model's class has and the quantized model has not; for `hasattr` it is not there."""


def own_classes(model_class: type) -> list[type]:
    """The classes of the user's that a model class is made of, the most general first."""
    found = []
    for each in model_class.__mro__:
        if each in KERAS_OWN or each.__module__.startswith(OWN_MODULES):
            break
        found.append(each)
    return found[::-1]


def drives_itself(model: KerasModel) -> bool:
    """Whether the model's class says how it is trained or evaluated."""
    return any(DRIVERS & set(vars(each)) for each in own_classes(type(model)))


def driven_class(base: type, model_class: type, parts: dict[str, str]) -> type:
    """`base` with the methods of `model_class` that do not make its graph.

    Args:
        base: class of the quantized model: `QatModel`, or its skin of Keras 3.
        model_class: class of the float model.
        parts: names of attributes of the float model that are layers, each with its class' name: the quantized model
            has one graph and none of these, and says so when one is read.

    Returns:
        A class derived from `base`, under its name; `base` itself where there is nothing to add.
    """
    own = own_classes(model_class)[::-1]
    has = {name for each in own for name in vars(each)}
    if not own:
        return base

    if not issubclass(base, (Functional, Functional3)):  # as Keras does it for the first model that is made of it
        (inject_functional_model_class3 if issubclass(base, keras.Model) else inject_functional_model_class)(base)

    def mro(cls: type) -> list[type]:
        return [cls, *own, *base.__mro__]

    def test_step(self: Any, data: TensorNest) -> Any:
        with integer_arithmetic():  # as Keras' own evaluation of a quantized model has it
            return super(made, self).test_step(data)

    members: dict[str, Any] = {name: inspect.getattr_static(base, name) for name in GRAPH & has}
    members |= {name: _missing(model_class, name, parts) for name in parts if name not in has}
    members |= {"driver": model_class.__name__, "__module__": base.__module__, "__qualname__": base.__qualname__}
    if "test_step" in has:
        members |= {"test_step": test_step, "evaluates_itself": True}
    # The user's classes are looked up first and are no bases: Keras would give its functional model to them as one.
    # So `super()`, `super(Theirs, self)` and `isinstance` in their methods mean the quantized model.
    made: type = type("Driven", (type(base),), {"mro": mro})(base.__name__, (base,), members)
    if issubclass(made, keras.Model):
        object_registration3.GLOBAL_CUSTOM_NAMES[made] = keras.saving.get_registered_name(base)
    else:
        object_registration._GLOBAL_CUSTOM_NAMES[made] = object_registration.get_registered_name(base)
    return made


def _missing(model_class: type, name: str, parts: dict[str, str]) -> property:
    message = f"{model_class.__name__}.{name} ({parts[name]}) is a part of the float model, and the quantized model is "
    message += f"one graph without such parts: {_way_out(model_class, name, parts)}"

    def refuse(self: Any) -> Any:
        raise MissingAttributeError(message)

    return property(refuse)


def _way_out(model_class: type, name: str, parts: dict[str, str]) -> str:
    """What to do where the training step reads this part: quantize those that `call` computes with, and drive them by
    the float model's class."""
    classes = own_classes(model_class)
    inside = [each for each in parts if each in reached_from(classes, {"call"})]
    if not inside:
        return (
            "write the training step with self(inputs, training=True), or quantize the part by itself "
            f"(quantize_model(model.{name}, ...)) and train that"
        )
    needed = [
        each.name
        for each in list(inspect.signature(model_class.__init__).parameters.values())[1:]
        if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    quantized = {each: f"quantize_model(model.{each}, ...)" for each in inside}
    layers = any(hasattr(keras.layers, parts[each]) for each in inside)  # only models are quantized
    if not layers and needed and set(inside) <= set(needed) <= set(parts):
        arguments = ", ".join(quantized.get(each, f"model.{each}") for each in needed)
        way = f"quantize what call computes with, and train {model_class.__name__}({arguments})"
    else:
        what = "as a model of its own" if layers else f"by itself ({', '.join(quantized.values())})"
        way = f"quantize what call computes with {what}, and train a {model_class.__name__} that holds it"
    own = "write the training step with self(inputs, training=True), or "
    return f"{own if name in inside else ''}{way}"


def warn_of_missing_parts(model: KerasModel) -> None:
    """Warn, before any work, of parts that the training step of the model's class reads and a quantized model has not.

    Args:
        model: the float model, of either Keras.
    """
    classes = own_classes(type(model))
    if not drives_itself(model):
        return
    parts, has = parts_of(model), {name for each in classes for name in vars(each)}
    read = reached_from(classes, DRIVERS)
    missing = [name for name in parts if name in read and name not in has]
    if missing:
        kind, way = type(model).__name__, _way_out(type(model), missing[-1], parts)
        names = " and ".join(f"{kind}.{name} ({parts[name]})" for name in missing)
        several = len(missing) > 1
        warn(
            f"the training step of {kind} reads {names}, {'parts' if several else 'a part'} of the float model, and "
            f"the quantized model is one graph without such parts: it refuses to be trained where one is read. "
            f"Here: {way}",
            TrainingSemanticsWarning,
        )


def reached_from(classes: Sequence[type], methods: set[str]) -> set[str]:
    """All names that these methods mention, or those of the classes that they call.

    Args:
        classes: classes of the user's, with methods in Python.
        methods: names of methods; those that no class has are passed over.

    Returns:
        Names, without the objects in front of them. What only the making and calling of the model mentions is left out,
        unless `methods` says so.
    """
    found: set[str] = set()
    left, seen = set(methods), set(GRAPH)
    while left:
        name = left.pop()
        seen.add(name)
        named = _names([vars(each)[name] for each in classes if name in vars(each)])
        found |= named
        left |= named - seen
    return found


def parts_of(model: KerasModel) -> dict[str, str]:
    """Attributes of a model of the user's that are layers or models, or hold some, each with its class' name."""
    classes = own_classes(type(model))
    mentioned = names_in(classes)
    return {
        name: type(getattr(model, name)).__name__.replace("ListWrapper", "list").replace("_DictWrapper", "dict")
        for name, value in (vars(model) if classes else {}).items()
        if (not name.startswith("_") or name in mentioned - KERAS_PRIVATE) and holds_layers(value)
    }


def names_in(classes: Sequence[type], stored: bool = False) -> set[str]:
    """All names that the code of these classes mentions, or only the attributes that it sets.

    Args:
        classes: classes with methods in Python, whose bytecode is read, inner functions included.
        stored: whether to name only attributes that the code assigns, as `self.rate = ...`.

    Returns:
        Names, without the objects in front of them: "rate" of `self.rate`.
    """
    return _names([member for each in classes for member in vars(each).values()], stored)


def _names(members: Sequence[object], stored: bool = False) -> set[str]:
    stack = [f.__code__ for member in members for f in _functions(member)]
    found: set[str] = set()
    while stack:
        code = stack.pop()
        found.update(
            [each.argval for each in dis.get_instructions(code) if each.opname == "STORE_ATTR"]
            if stored
            else code.co_names
        )
        stack += [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return found


@functools.cache
def set_by_keras() -> frozenset[str]:
    """Names of the attributes that Keras' own training, evaluation and export set, on the layers of a model too."""
    models = [keras.Model, tf_keras.Model]
    layers = {*keras.layers.Layer.__mro__, *tf_keras.layers.Layer.__mro__}
    return frozenset(names_in([each for model in models for each in model.__mro__ if each not in layers], stored=True))


def _functions(member: object) -> Iterator[types.FunctionType]:
    held = (member.fget, member.fset, member.fdel) if isinstance(member, property) else (member,)
    for each in held:
        function = (
            inspect.unwrap(getattr(each, "__func__", each)) if callable(getattr(each, "__func__", each)) else None
        )
        if isinstance(function, types.FunctionType):
            yield function


def is_metric(value: object) -> bool:
    return isinstance(value, (tf_keras.metrics.Metric, keras.metrics.Metric))


def _is_layer(value: object) -> bool:
    return isinstance(value, (tf_keras.layers.Layer, keras.layers.Layer)) and not is_metric(value)


def holds_layers(value: object) -> bool:
    """Whether it is a layer, or a list or dictionary with one in it."""
    return any(map(_is_layer, leaves(value)))


def leaves(value: object) -> list[Any]:
    try:
        return tf.nest.flatten(value)
    except (TypeError, ValueError):  # a dictionary whose keys have no order
        return [value]


def found_driver(name: str, custom_objects: dict | None, base: type) -> type | None:
    """The class of this name that the caller has given to Keras; None, said, where there is none.

    Args:
        name: name of the float model's class, or the one that it is registered under.
        custom_objects: classes by name, as the caller gave them to `load_model`; None for none.
        base: the class that it drives, of either Keras.

    Returns:
        The class; None where it is not known, which a warning says.
    """
    saving = keras.saving if issubclass(base, keras.Model) else object_registration
    alone = name.rpartition(">")[2]  # without the package that it is registered in
    given = custom_objects or {}
    known = next(filter(None, (given.get(each) or saving.get_registered_object(each) for each in (name, alone))), None)
    if known is None:
        warn(
            f"the model was trained by a class of its own, {name}, which is not known here: it is loaded without its "
            "train_step, losses, metrics and variables. Give load_model(..., "
            f"custom_objects={{{alone!r}: {alone}}}) to have them",
            TrainingSemanticsWarning,
        )
    return known
