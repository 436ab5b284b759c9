"""A model of the user's own: `model=user model.target._target_=my_package.my_model`."""

from __future__ import annotations

import tf_keras

from qat import targets
from qat.config import ModelConfig
from qat.errors import ModelError


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Calls the function with `input_shape`, `classes` and the target's other entries; it returns a `tf_keras.Model`.

    An error inside the user's function passes through as it is.

    Raises:
        ModelError: it cannot be found, takes other arguments, or returns something else.
    """
    name = config.target.get("_target_")
    model = targets.call("model.target", config.target, ModelError, input_shape=input_shape, classes=classes)
    if not isinstance(model, tf_keras.Model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise ModelError(
            f"model.target._target_={name} returned a {kind}; expected a tf_keras.Model. "
            "Build it with `import tf_keras` (Keras 2), not with `import keras` (Keras 3)"
        )
    return model
