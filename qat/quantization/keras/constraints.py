"""How the constraint of a variable is written down and read again, by the Keras that it is of."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from qat.errors import TrainingSemanticsWarning
from qat.quantization.keras.to_float_messages import CONFIG_ERRORS


def write_constraint(constraint: Any, package: str) -> Any:
    """A constraint as a config holds it.

    Args:
        constraint: an object or function that takes a variable's value and gives it back constrained; None for none.
        package: of its Keras, "keras" or "tf_keras".

    Returns:
        JSON values that `read_constraint` takes; None where there is none. Of a lambda,
        and of one that Keras cannot write down, the name.
    """
    if constraint is None:
        return None
    name = getattr(constraint, "__name__", type(constraint).__name__)
    try:
        return {"class_name": name} if name == "<lambda>" else import_module(package).constraints.serialize(constraint)
    except CONFIG_ERRORS:
        return {"class_name": name}


def read_constraint(said: Any, package: str, variable: str) -> Any:
    """The constraint of a config. One that is not known here is left out, and that is said.

    Args:
        said: what `write_constraint` gave.
        package: of its Keras, "keras" or "tf_keras".
        variable: path of the variable, for the message.

    Returns:
        The constraint; None where there is none, or where it is not known.
    """
    if said is None:
        return None
    try:
        found = import_module(package).constraints.deserialize(said)
    except CONFIG_ERRORS:
        found = None
    if callable(found):
        return found
    name = said.get("registered_name") or said["class_name"] if isinstance(said, dict) else said
    warnings.warn(
        f"variable {variable!r} is trained without its constraint {name}, which is not known here: register it "
        f"with {package}.saving.register_keras_serializable, or give it to load_model as custom_objects",
        TrainingSemanticsWarning,
        stacklevel=2,
    )
    return None
