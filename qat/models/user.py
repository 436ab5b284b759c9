"""A model of the user's own: `model=user model.target._target_=my_package.my_model`."""

from __future__ import annotations

import tf_keras
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from qat.config import ModelConfig
from qat.errors import ModelError


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Calls the function with `input_shape`, `classes` and the target's other entries; it returns a `tf_keras.Model`.

    An error inside the user's function passes through as it is.
    """
    target = dict(config.target or {})
    name = target.get("_target_")
    try:
        make = instantiate({**target, "_partial_": True, "_convert_": "all"})
    except InstantiationException as error:
        raise ModelError(f"model.target._target_={name}: cannot be imported: {error}") from error
    model = make(input_shape=input_shape, classes=classes)
    if not isinstance(model, tf_keras.Model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise ModelError(
            f"model.target._target_={name} returned a {kind}; expected a tf_keras.Model. "
            "Build it with `import tf_keras` (Keras 2), not with `import keras` (Keras 3)"
        )
    return model
