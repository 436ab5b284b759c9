"""Which models are read: those of Keras 3 on TensorFlow, and of tf_keras. Any other is refused with what to do."""

from __future__ import annotations

import os
import sys

import tf_keras

from qat.errors import ModelError
from qat.models.keras_types import KerasModel
from qat.quantization.importing.keras_version import is_keras3


def refuse_foreign(model: KerasModel) -> None:
    """Nothing, for a model that can be read.

    Raises:
        ModelError: it is no Keras model, Keras runs on another backend, or the model is quantized by Keras already.
    """
    if is_keras3(model) and isinstance(model, sys.modules["keras"].Model):
        _refuse_backend(sys.modules["keras"].backend.backend(), model)
        _refuse_quantized(model)
    elif not isinstance(model, tf_keras.Model):
        raise ModelError(
            f"quantize_model takes a Keras model first, not {_describe(model)}: a keras.Model (Keras 3 with "
            f"KERAS_BACKEND=tensorflow) or a tf_keras.Model (Keras 2).{_advise(model)}"
        )


def _describe(value: object) -> str:
    kind = type(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__name__}"


def _advise(value: object) -> str:
    if isinstance(value, (str, os.PathLike)):
        return f" A saved one is read by qat.models.load({str(value)!r})"
    if isinstance(value, (bytes, bytearray)):
        return " A .tflite cannot be trained any more: give the model that it was made of"
    if isinstance(value, type):
        return " Give a model that it has made"
    if isinstance(value, tf_keras.layers.Layer):
        return " A layer becomes one by tf_keras.Sequential([tf_keras.Input(shape), layer])"
    return ""


def _refuse_backend(backend: str, model: KerasModel) -> None:
    if backend != "tensorflow":
        raise ModelError(
            f"model {model.name!r} is a Keras 3 model on the {backend} backend (KERAS_BACKEND="
            f"{os.environ.get('KERAS_BACKEND', 'not set')}), and its file is made from TensorFlow ops: save it with "
            "model.save('model.keras'), set KERAS_BACKEND=tensorflow before Python starts, and load it there with "
            "keras.models.load_model('model.keras')"
        )


def _refuse_quantized(model: KerasModel) -> None:
    layers = [layer for layer in model._flatten_layers() if getattr(layer, "quantization_mode", None) is not None]
    if layers:
        named = ", ".join(f"{layer.name} ({layer.dtype_policy.name})" for layer in layers[:3])
        more = ", …" if len(layers) > 3 else ""
        raise ModelError(
            f"model {model.name!r} is quantized by Keras already: {named}{more}. Give it as it was before that, in "
            "float: quantize_model puts quantization where the file has codes"
        )
