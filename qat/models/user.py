"""A model of the user's own: `model=user model.target._target_=my_package.my_model`."""

from __future__ import annotations

from typing import Any

from qat import targets
from qat.config import ModelConfig
from qat.errors import ModelError
from qat.models.which_keras import is_keras_model, keras_of


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> Any:
    """Calls the function with `input_shape`, `classes` and the target's other entries; it returns a `keras.Model` or a
    `tf_keras.Model`. One that has no inputs yet, or is of a class of its own, is taken as a layer of a functional one.

    Raises:
        ModelError: it cannot be found, takes other arguments, raises an error, or returns something else.
    """
    name = config.target.get("_target_")
    model = targets.call("model.target", config.target, ModelError, input_shape=input_shape, classes=classes)
    if not is_keras_model(model):
        raise ModelError(
            f"model.target._target_={name} returned {_describe(model)}; expected a keras.Model or a tf_keras.Model"
        )
    return model if getattr(model, "inputs", None) else _of_known_size(model, input_shape, name)


def _of_known_size(model: Any, input_shape: tuple[int, ...], name: str) -> Any:
    keras = keras_of(model)
    entry = keras.Input(input_shape)
    try:
        return keras.Model(entry, model(entry), name=f"{model.name}_of_known_size")
    except Exception as error:  # the user's `call` may raise anything
        raise ModelError(
            f"model.target._target_={name}: its model cannot be called on samples of shape {list(input_shape)}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error


def _describe(value: object) -> str:
    """
    >>> _describe(None), _describe(dict), _describe((1, 2))
    ('None: is its return missing?', 'the class dict, not called', 'a builtins.tuple')
    """
    if value is None:
        return "None: is its return missing?"
    if isinstance(value, type):
        return f"the class {value.__name__}, not called"
    return f"a {type(value).__module__}.{type(value).__name__}"
