"""How the constraint of a variable is written down and read again, by the Keras that it is of."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import tf_keras

from qat.errors import ModelError, TrainingSemanticsWarning
from qat.quantization.keras.to_float_messages import CONFIG_ERRORS
from qat.warning import warn

_PACKAGES = {"keras": keras, "tf_keras": tf_keras}
_NAME_ALONE = "written_by_name"  # key of one that its Keras cannot write down


def write_constraint(constraint: Any, package: str) -> Any:
    """A constraint as a config holds it.

    Args:
        constraint: an object or function that takes a variable's value and gives it back constrained; None for none.
        package: of its Keras, "keras" or "tf_keras".

    Returns:
        JSON values that `read_constraint` takes; None where there is none. For a lambda, and for one that Keras cannot
        write down, the name.
    """
    if constraint is None:
        return None
    name = getattr(constraint, "__name__", type(constraint).__name__)
    try:
        return {_NAME_ALONE: name} if name == "<lambda>" else _PACKAGES[package].constraints.serialize(constraint)
    except CONFIG_ERRORS:
        return {_NAME_ALONE: name}


def read_constraint(config: Any, package: str, variable: str) -> Any:
    """The constraint of a config. One that is not known here is left out, and that is said.

    Args:
        config: what `write_constraint` gave.
        package: of its Keras, "keras" or "tf_keras".
        variable: path of the variable, for the message.

    Returns:
        The constraint; None where there is none, or where it is not known.

    Raises:
        ModelError: `package` is another one.
    """
    if config is None:
        return None
    if package not in list(_PACKAGES):  # anything may stand in a file
        raise ModelError(f"variable {variable!r}: keras={package!r} in its config: expected one of {list(_PACKAGES)}")
    named = config if isinstance(config, dict) else {"class_name": config}
    for form in () if named.get(_NAME_ALONE) else (config, _of_older_formats(named)):
        with contextlib.suppress(*CONFIG_ERRORS):
            found = _PACKAGES[package].constraints.deserialize(form)
            if callable(found):
                return found
    name = named.get(_NAME_ALONE) or named.get("registered_name") or named.get("class_name")
    warn(
        f"variable {variable!r} is trained without its constraint {name}, which is not known here: register it "
        f"with {package}.saving.register_keras_serializable, or give it to load_model as custom_objects",
        TrainingSemanticsWarning,
    )
    return None


def _of_older_formats(named: dict[str, Any]) -> Any:
    """The same config as Keras reads it while it loads `.h5` files and SavedModels: by the registered name alone."""
    if named.get("class_name") == "function":
        return named.get("config")
    return {"class_name": named.get("registered_name"), "config": named.get("config")}
