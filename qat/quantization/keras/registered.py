"""The classes of a quantized model by the names under which Keras writes them down."""

from __future__ import annotations

from typing import Any

import tf_keras

PACKAGE = "qat>"  # before the registered names


def by_bare_names() -> Any:
    """A `custom_object_scope` with all of them under their names without the package: `Sequential` writes those alone
    into an `.h5` file."""
    every = tf_keras.utils.get_custom_objects()
    return tf_keras.utils.custom_object_scope(
        {name.removeprefix(PACKAGE): each for name, each in every.items() if name.startswith(PACKAGE)}
    )
