"""From a decoded and checked config of Keras 3 to its model: a file is written again, in memory, from what was checked,
and Keras 3 itself reads that."""

from __future__ import annotations

import io
import json
import zipfile
from importlib import import_module
from typing import Any

import h5py
import keras
from keras.src.legacy.saving import legacy_h5_format
from keras.src.saving import saving_lib

from qat.errors import ModelError
from qat.models.untrusted.check_config import OWN
from qat.models.untrusted.decode import WEIGHTS, DecodedModel


def assemble_keras3(decoded: DecodedModel, with_assets: bool = True) -> keras.Model:
    """Make the model, not compiled, by code that Keras 3 calls safe. The config must have been checked.

    Args:
        decoded: config, arrays of the stored shapes and dtypes by path, and vocabularies, of a .keras or .h5 file.
        with_assets: whether to set vocabularies too, which takes a temporary folder.

    Returns:
        The model with the weights of the file.

    Raises:
        ModelError: the config describes something else, or Keras 3 runs on another backend here.
        Exception: whatever Keras raises for configs and weights that do not fit.
    """
    refuse_other_backends()
    register_own(OWN in json.dumps(decoded.config))
    if decoded.kind == ".keras":
        model = saving_lib._load_model_from_fileobj(_keras_file(decoded, with_assets), None, False, True)
    else:
        with _hdf5_file(decoded) as stored:
            model = legacy_h5_format.load_model_from_hdf5(stored, compile=False)
    if not isinstance(model, keras.Model):
        raise ModelError(f"its config describes a {type(model).__name__} and no model")
    return model


def register_own(needed: bool) -> None:
    """Let both Keras know the classes of models of `quantize_model`; of a .keras, Keras 2 imports them itself."""
    if needed:
        import_module("qat.quantization")


def refuse_other_backends() -> None:
    """Refuse JAX and PyTorch, whose graphs TensorFlow Lite has no kernels for.

    Raises:
        ModelError: Keras 3 runs on another backend than TensorFlow in this process.
    """
    if keras.backend.backend() != "tensorflow":
        raise ModelError(
            f"Keras 3 runs on the backend {keras.backend.backend()} in this process; .tflite files are made from "
            "TensorFlow's ops. Set KERAS_BACKEND=tensorflow before keras is imported; files that were saved on another "
            "backend load there"
        )


def _keras_file(decoded: DecodedModel, with_assets: bool) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": decoded.keras_version}))
        archive.writestr("config.json", json.dumps(decoded.config))
        archive.writestr(WEIGHTS, _weights_file(decoded))
        for path, lines in decoded.assets.items() if with_assets else ():
            archive.writestr(f"assets/{path}", lines)
    content.seek(0)
    return content


def _weights_file(decoded: DecodedModel) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for path, array in decoded.arrays.items():
            file.create_dataset(path, data=array)
    return content.getvalue()


def _hdf5_file(decoded: DecodedModel) -> Any:
    """An .h5 file in memory."""
    file = h5py.File(io.BytesIO(), "w")
    file.attrs["model_config"] = json.dumps(decoded.config).encode()
    weights = file.create_group("model_weights")
    for path, attributes in decoded.names.items():
        group = weights.require_group(path) if path else weights
        for key, value in attributes.items():
            group.attrs[key] = value if isinstance(value, str) else [each.encode() for each in value]
    for path, array in decoded.arrays.items():
        weights.create_dataset(path, data=array)
    return file
