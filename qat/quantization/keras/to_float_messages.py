"""What `to_float` says of a model that does not come back as it was, whichever Keras it is of."""

from __future__ import annotations

from collections.abc import Sequence

from qat.errors import FloatModelWarning, ModelError
from qat.warning import warn

# What a class of the user's raises that cannot write itself down, or be built from what it wrote
CONFIG_ERRORS = (NotImplementedError, TypeError, ValueError, AttributeError)


def warn_of_other_layers(name: str) -> None:
    """Warn that a float model came back as the same function in the quantized model's layers."""
    warn(
        f"to_float: model {name!r} cannot be built again by its class, which does not write down all that it is made "
        "of (a get_config that gives the constructor's arguments, and no functions of its own in Lambda layers). What "
        "came back computes the same from the same variables, but in the quantized model's layers, with other names. "
        "To have the float model itself, make it as before and assign the weights",
        FloatModelWarning,
    )


def unknown_classes(name: str, classes: Sequence[str], keras: str) -> ModelError:
    """The error for a float model that holds classes which this process does not know.

    Args:
        name: name of the model.
        classes: names of the classes; each is named once in the message.
        keras: how the user imports the Keras of the model: "keras" or "tf_keras".

    Returns:
        The error, to be raised by the caller.
    """
    return ModelError(
        f"to_float: model {name!r} holds {', '.join(sorted(set(classes)))}, which is not known here. Register it with "
        f"{keras}.saving.register_keras_serializable first, or do this in a {keras}.saving.custom_object_scope"
    )


def other_variables(
    name: str, expected: str | None, shape: Sequence[int], found: tuple[str, Sequence[int]] | None
) -> ModelError:
    """The error for a model that has other variables, built again, than the one that was quantized.

    Args:
        name: name of the model.
        expected: name of the variable that has no place, as "conv/kernel:0".
        shape: sizes of that variable.
        found: name and sizes of the variable in its place; None where there is none.

    Returns:
        The error, to be raised by the caller.
    """
    there = "none" if found is None else f"{found[0]} of shape {tuple(found[1])}"
    return ModelError(
        f"to_float: model {name!r}, built again, has other variables than the one that was quantized: in the place of "
        f"{expected} of shape {tuple(shape)} it has {there}. A variable that is no attribute of a layer cannot be "
        "shared again; call one layer twice instead"
    )
