"""A stranger's model: a .keras or .h5 file, or a SavedModel folder, that Keras 2 wrote."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
import tf_keras

from qat.config import ModelConfig
from qat.errors import ModelError
from qat.models.saved_file import SavedFile, inspect


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """The model in `config.path`, as it is; that it fits the data is checked by the caller."""
    return load(str(config.path), config.trust_custom_objects)


def load(path: str, trust_custom_objects: bool = False) -> tf_keras.Model:
    """Load a functional or sequential Keras 2 model, not compiled, custom objects from the scope around the call.

    Raises: ModelError for a missing or broken file, a Keras 3 file, custom objects that are not known, Lambda code
    that is not trusted, and models that have no fixed inputs (subclassed ones).
    """
    found = inspect(Path(path))
    _refuse_keras_3(path, found)
    if found.has_lambda and not trust_custom_objects:
        raise ModelError(
            f"model.path={path}: the file carries Lambda layers, that is Python code which runs when it is loaded. If "
            "you trust its source set model.trust_custom_objects=true; better, save it with layers in their place"
        )
    model = _loaded(path, found, trust_custom_objects)
    _refuse_unusable(path, model)
    return model


def _refuse_keras_3(path: str, found: SavedFile) -> None:
    if found.keras_version.split(".")[0] not in ("", "2"):
        raise ModelError(
            f"model.path={path}: written by Keras {found.keras_version}; tfmot and this project know Keras 2 only. "
            "Build the model with tf_keras (or set TF_USE_LEGACY_KERAS=1 before importing TensorFlow), take the "
            "weights over with model.set_weights(keras_3_model.get_weights()), and save it from there"
        )


def _loaded(path: str, found: SavedFile, trust_custom_objects: bool) -> tf_keras.Model:
    options = {"safe_mode": not trust_custom_objects} if found.kind == ".keras" else {}
    try:
        return tf_keras.models.load_model(path, compile=False, **options)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, RuntimeError, tf.errors.OpError) as error:
        text = _shortened(str(error))
        if found.custom_objects:
            names = ", ".join(found.custom_objects)
            raise ModelError(_custom_objects(path, found.kind, f"{names} (Keras says: {text}).")) from error
        if text.startswith("Unknown "):
            raise ModelError(_custom_objects(path, found.kind, text)) from error
        raise ModelError(f"model.path={path}: Keras cannot load this {found.kind}: {text}") from error


def _custom_objects(path: str, kind: str, which: str) -> str:
    return (
        f"model.path={path}: the {kind} needs custom objects that are not in it: {which} "
        "Write a function that loads it within tf_keras.utils.custom_object_scope and use it with model=user"
    )


def _shortened(text: str, longest: int = 200) -> str:
    """Keras prints whole configs: the first line's beginning and, where there is one, the last line."""
    lines = [line if len(line) <= longest else f"{line[:longest]} ..." for line in text.strip().splitlines() if line]
    return " ".join(dict.fromkeys([*lines[:1], *lines[-1:]])) or "no reason given"


def _refuse_unusable(path: str, model: object) -> None:
    if not isinstance(model, tf_keras.Model):
        raise ModelError(
            f"model.path={path}: a SavedModel without a Keras model in it (exported by tf.saved_model.save or by Keras "
            "3); its layers cannot be told apart any more. Save the model itself with tf_keras' model.save()"
        )
    if not model.inputs:
        raise ModelError(
            f"model.path={path}: a subclassed model, or one that was never built; expected a functional or sequential "
            "model with known inputs, such as tf_keras.Model(inputs, outputs)"
        )
    _refuse_revived(path, model)


def _refuse_revived(path: str, model: tf_keras.Model) -> None:
    """A SavedModel brings a custom layer back without its class: it runs, but cannot be saved, rebuilt or quantized."""
    for layer in model.submodules:
        if isinstance(layer, tf_keras.layers.Layer) and any(
            kind.__name__ == "RevivedLayer" for kind in type(layer).mro()
        ):
            raise ModelError(_custom_objects(path, "SavedModel", f"layer {layer.name} is a {type(layer).__name__}."))
