"""What a saved Keras model says about itself, read before anything in it is loaded or run."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from qat.errors import ModelError

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SAVED_MODEL_LAMBDA = re.compile(rb'"class_name"\s*:\s*"(Lambda|__lambda__)"')


@dataclass(frozen=True)
class SavedFile:
    """Kind of file, the Keras that wrote it ("" where it is not said), and whether it carries Lambda code."""

    kind: str  # ".keras" | ".h5" | "SavedModel"
    keras_version: str
    has_lambda: bool
    custom_objects: tuple[str, ...] = ()  # names of classes and functions from elsewhere; only a .keras says it


def inspect(path: Path) -> SavedFile:
    """Read kind, Keras version and config. Raises: ModelError for what is no saved Keras model."""
    if not path.exists():
        raise ModelError(f"model.path={path}: no such file or folder")
    if path.is_dir():
        return _inspect_saved_model(path)
    if zipfile.is_zipfile(path):
        return _inspect_zip(path)
    with path.open("rb") as file:
        start = file.read(len(_HDF5_SIGNATURE))
    if start == _HDF5_SIGNATURE:
        return _inspect_hdf5(path)
    raise ModelError(
        f"model.path={path}: neither a .keras nor an .h5 file by its content (or one cut short); "
        "expected what tf_keras' model.save() wrote, or a SavedModel folder"
    )


def _inspect_saved_model(path: Path) -> SavedFile:
    graph, metadata = path / "saved_model.pb", path / "keras_metadata.pb"
    if not graph.is_file():
        raise ModelError(f"model.path={path}: this folder holds no saved_model.pb, so it is no SavedModel")
    text = (metadata if metadata.is_file() else graph).read_bytes()
    return SavedFile("SavedModel", "", _SAVED_MODEL_LAMBDA.search(text) is not None)


def _inspect_zip(path: Path) -> SavedFile:
    try:
        with zipfile.ZipFile(path) as archive:
            version = str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
            config = json.loads(archive.read("config.json"))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"model.path={path}: a zip file, but no whole .keras model: {error}") from error
    return SavedFile(".keras", version, _has_lambda(config), tuple(sorted(set(_custom(config)))))


def _inspect_hdf5(path: Path) -> SavedFile:
    try:
        with h5py.File(path, "r") as file:
            version, config = _text(file.attrs.get("keras_version", "")), _text(file.attrs.get("model_config", ""))
    except OSError as error:
        raise ModelError(f"model.path={path}: a broken .h5 file: {error}") from error
    if not config:
        raise ModelError(
            f"model.path={path}: this .h5 holds weights only, no model. Save it with model.save() in place of "
            "save_weights(), or build the model with model=user and load the weights there"
        )
    return SavedFile(".h5", version, _has_lambda(json.loads(config)))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a model's config that stands for an object, the nested ones included."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value)


def _has_lambda(config: Any) -> bool:
    return any(each["class_name"] in ("Lambda", "__lambda__") for each in _objects(config))


def _custom(config: Any) -> Iterator[str]:
    for each in _objects(config):
        origin = str(each.get("module") or "").split(".")[0]
        if "module" in each and origin not in ("keras", "tf_keras", "tensorflow", "builtins"):
            yield str(each["config"] if each["class_name"] == "function" else each["class_name"])
