"""Kind and metadata of a saved Keras model, read before anything in it is loaded or run."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py

from qat.errors import ModelError
from qat.limits import DAMAGE, check_regular
from qat.models.untrusted.check_config import OWN, find_custom_names
from qat.models.untrusted.decode import SAVE_AGAIN, WEIGHTS, detect_kind, parse_config
from qat.plain_text import address_hint, first_line

_OTHER_KINDS = {  # files that are no saved Keras model, by the end of their names
    ".tflite": "a TFLite file, which is no Keras model any more; qat.evaluate, qat.verify and qat.diagnose take it",
    ".json": "an architecture without weights; if a .weights.h5 of Keras 3 lies next to it, give the path of that",
    ".yaml": "an architecture without weights",
    ".index": "a checkpoint, which holds weights only",
    ".ckpt": "a checkpoint, which holds weights only",
    ".pb": "a graph without Keras layers; of a SavedModel give the folder",
    ".py": "a program; a function in it that builds a model is model=user model.target._target_=module.function",
    ".onnx": "an ONNX file",
    ".npz": "arrays, which are data",
    ".npy": "an array, which is data",
    ".pt": "a file of PyTorch",
    ".pth": "a file of PyTorch",
    ".pkl": "a pickle, which is a program",
    ".pickle": "a pickle, which is a program",
    ".joblib": "a pickle, which is a program",
}
_WHOLE_MODEL = "Save the whole model with model.save(), as my_model.keras; or build it with model=user"
OLDER_NAMES = ("2.12.", "2.13.", "2.14.")  # see qat.models.untrusted.group_names


@dataclass(frozen=True)
class SavedFile:
    """Kind of file, the Keras that wrote it ("" where it is not recorded), and the custom objects that it needs."""

    kind: str  # ".keras" | ".h5" | "SavedModel"
    keras_version: str = ""
    custom_objects: tuple[str, ...] = ()  # names of classes and functions; only a .keras records them
    is_quantized: bool = False  # a .keras with a model of `quantize_model`
    needs_name_mapping: bool = False  # a .keras whose weights may stand under names that Keras does not look for here


def inspect(path: Path, only_kind: bool = False) -> SavedFile:
    """Inspect a saved model without loading it.

    Args:
        path: path of a file, or the folder of a SavedModel.
        only_kind: read no more than the first bytes, as of an untrusted file.

    Returns:
        Its kind, as ".keras"; without `only_kind` also Keras' version and the names of custom objects.

    Raises:
        ModelError: no saved Keras model, or a damaged one.
    """
    checkpoint = path / "checkpoint" if path.is_dir() else path.with_name(f"{path.name}.index")
    if not (path / "saved_model.pb").is_file() and checkpoint.is_file():
        raise ModelError(f"{_OTHER_KINDS['.ckpt']}. {_WHOLE_MODEL}")
    if not path.exists():
        raise ModelError(f"no such file or folder.{address_hint(path)}")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ModelError(f"this folder holds no saved_model.pb, so it is no SavedModel. {_WHOLE_MODEL}")
        return SavedFile("SavedModel")
    if path.suffix.lower() in _OTHER_KINDS:
        raise ModelError(f"{_OTHER_KINDS[path.suffix.lower()]}. {_WHOLE_MODEL}")
    kind = _kind(path)
    if only_kind:
        return SavedFile(kind)
    try:
        return _inspect_zip(path) if kind == ".keras" else _inspect_hdf5(path)
    except ModelError:
        raise
    except DAMAGE as error:
        what = "a zip file, but no whole .keras model" if kind == ".keras" else "a broken .h5 file"
        raise ModelError(f"{what}: {first_line(error)}. {SAVE_AGAIN}") from error


def _kind(path: Path) -> str:
    try:
        check_regular("", path.stat(), "file_mb", ModelError)
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror})") from error
    kind = detect_kind(start)
    if kind is None and start[4:] == b"TFL3":
        raise ModelError(f"{_OTHER_KINDS['.tflite']}. {_WHOLE_MODEL}")
    if kind is None:
        raise ModelError(
            "neither a .keras nor an .h5 file by its content (or one cut short); "
            "expected what model.save() of Keras wrote, or a SavedModel folder"
        )
    return kind


def _inspect_zip(path: Path) -> SavedFile:
    with zipfile.ZipFile(path) as archive:
        version = str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
        text = archive.read("config.json").decode()
        config = parse_config(text)
        foreign = version.startswith(OLDER_NAMES) or _has_backslashes(archive)
    return SavedFile(".keras", version, tuple(find_custom_names(config)), OWN in text, foreign)


def _has_backslashes(archive: zipfile.ZipFile) -> bool:
    """Whether Keras wrote the weights on Windows, where it put `layers\\dense` in place of `layers/dense`."""
    if WEIGHTS not in archive.namelist():
        return False
    with archive.open(WEIGHTS) as stored, h5py.File(stored, "r") as weights:
        return any("\\" in name for name in weights)


def _inspect_hdf5(path: Path) -> SavedFile:
    with h5py.File(path, "r") as file:
        version, config = _text(file.attrs.get("keras_version", "")), _text(file.attrs.get("model_config", ""))
    if not config:
        raise ModelError(
            "this .h5 holds weights only, no model. Save it with model.save() in place of "
            "save_weights(), or build the model with model=user and load the weights there"
        )
    return SavedFile(".h5", version)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
