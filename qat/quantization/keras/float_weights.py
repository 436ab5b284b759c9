"""Files of the float model's weights, loaded into the quantized model: as the float model loads them."""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf

from qat.errors import ModelError
from qat.models.keras_types import KerasModel
from qat.warning import warn

# What stands in names of a file that a quantized model has saved, and in no other
OWN = re.compile(
    r"(^|/)(range_layer|layer_variables|canonical_wrapper|quantized_graph)(_\d+)?(/|$)|--range|/optimizer_step/"
)
UNREADABLE = (OSError, KeyError, ValueError, zipfile.BadZipFile, tf.errors.OpError)
REFUSED = (ValueError, KeyError, TypeError, AssertionError, tf.errors.OpError)  # what Keras raises of another model


def load_either(
    model: KerasModel, load_own: Callable[..., Any], path: str | os.PathLike[str], *arguments: Any, **options: Any
) -> Any:
    """Load a file of the quantized model's weights, or of the float model's.

    Args:
        model: the quantized model, of either Keras.
        load_own: Keras' own `load_weights` of it.
        path: the file, in any form that Keras writes: `.weights.h5`, `.keras`, `.h5`, a checkpoint, a SavedModel.
        arguments, options: as `load_weights` takes them.

    Returns:
        What Keras gives: the status of a checkpoint, else None.

    Raises:
        ModelError: they are a float model's, and not those of the one that was quantized.
    """
    names = list(_names_in(Path(path)))
    if not names or any(map(OWN.search, names)):
        return load_own(path, *arguments, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the model is made to read the file alone
        float_model = model.to_float()
    if type(float_model).__module__.startswith("qat."):
        raise ModelError(_refusal(model.name, path, "its class cannot build the float model again to read them"))
    try:
        status = float_model.load_weights(path, *arguments, **options)
        if status is not None:
            status.assert_existing_objects_matched()
    except REFUSED as error:
        raise ModelError(_refusal(model.name, path, str(error).partition("\n")[0])) from error
    _take(getattr(model, "qat_model", model), float_model)
    return status


def _take(model: KerasModel, float_model: KerasModel) -> None:
    """Give the copies the values of the float model's variables; ranges stay."""
    pairs = zip(model.float_variables.variables, float_model.variables, strict=False)
    values = [(own, np.asarray(tf.convert_to_tensor(theirs))) for own, theirs in pairs if own is not None]
    moved = any(not np.array_equal(own.numpy(), value) for own, value in values)
    for own, value in values:
        own.assign(value)
    if moved:
        warn(
            f"model {model.name!r}: the weights of the file are the float model's; the ranges stay as they were "
            "calibrated with other weights. Train on, which moves them, or load the weights into the float model and "
            "quantize that",
            UserWarning,
        )


def _refusal(name: str, path: str | os.PathLike[str], why: str) -> str:
    return (
        f"model {name!r}: {str(path)!r} holds weights of a float model, and they cannot be taken ({why}). Load them "
        f"into the float model and quantize it anew: float_model.load_weights({str(path)!r}); "
        "qat_model = quantize_model(float_model, calibration); or take them layer by layer: "
        "qat_model.get_layer(name).set_weights(float_model.get_layer(name).get_weights())"
    )


def _names_in(path: Path) -> Iterator[str]:
    """Names of what a file of weights holds; none where it is of no form that is known here."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
                yield from _names_in_h5(file)
        elif path.suffix == ".json":
            yield from json.loads(path.read_text())["weight_map"]
        elif path.suffix in (".h5", ".hdf5"):
            yield from _names_in_h5(path)
        else:
            prefix = path / "variables" / "variables" if path.is_dir() else path
            yield from (name for name, _ in tf.train.list_variables(str(prefix)))
    except UNREADABLE:
        return


def _names_in_h5(file: Any) -> list[str]:
    names: list[str] = []
    with h5py.File(file, "r") as held:
        held.visit(names.append)
    return names
