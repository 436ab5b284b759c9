"""The config, the arrays and the vocabularies in a saved model, read by zipfile, h5py and json: nothing in it is run.

Meant for a child process under limits: HDF5 and zlib read untrusted bytes here.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from qat.errors import ModelError
from qat.limits import DAMAGE, MB, check_size, current
from qat.plain_text import first_line

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
MAX_OBJECTS = 200_000  # groups and arrays of an HDF5 file, or members of a zip
SAVE_AGAIN = "Copy it once more, or save the model again by model.save(), as my_model.keras"
WEIGHTS, _ASSETS = "model.weights.h5", "assets/"


@dataclass
class DecodedModel:
    """What a saved model holds, as plain values.

    Attributes:
        kind: ".keras" or ".h5".
        keras_version: of the Keras that wrote it, "" where it does not say.
        config: of the model, as JSON gives it.
        arrays: by path; .keras: "layers/dense/vars/0", .h5: "<layer>/<weight>".
        names: .h5: the attributes that order the arrays, by group.
        assets: .keras: lines of vocabularies and the like, by path.
    """

    kind: str
    keras_version: str
    config: Any
    arrays: dict[str, NDArray] = field(default_factory=dict)
    names: dict[str, dict[str, Any]] = field(default_factory=dict)
    assets: dict[str, bytes] = field(default_factory=dict)

    @property
    def keras_major(self) -> str:
        """Major version of the Keras that wrote it: "2" where the file does not say, as older ones."""
        return self.keras_version.split(".")[0] or "2"


def detect_kind(start: bytes) -> str | None:
    """Detect the kind of a file by its first bytes alone, so that it is never read as two kinds."""
    if start.startswith(ZIP_SIGNATURE):
        return ".keras"
    return ".h5" if start.startswith(HDF5_SIGNATURE) else None


def decode(file: BinaryIO) -> DecodedModel:
    """Read an open .keras or .h5 file.

    Args:
        file: at its start, open in binary mode.

    Returns:
        Config, arrays of the stored shapes and dtypes by path, and vocabularies; nothing in them is checked.

    Raises:
        ModelError: it is damaged, too large, or has content that saved models never have.
    """
    kind = detect_kind(file.read(8))
    file.seek(0)
    try:
        return _decode_zip(file) if kind == ".keras" else _decode_hdf5(file)
    except ModelError:
        raise
    except MemoryError:
        raise ModelError(f"reading it takes more than limits.memory_mb={current().memory_mb}") from None
    except DAMAGE as error:
        what = "a zip file, but no whole .keras model" if kind == ".keras" else "a broken .h5 file"
        raise ModelError(f"{what}: {first_line(error)}. {SAVE_AGAIN}") from error


def parse_config(text: bytes | str) -> Any:
    """Parse a config.

    Args:
        text: JSON, as text or UTF-8 bytes.

    Returns:
        What the JSON holds, a dictionary in a sound file.

    Raises:
        ModelError: it is larger than `limits.text_mb`.
        ValueError, RecursionError: it is no JSON.
    """
    check_size("the config in it", len(text), "text_mb", ModelError)
    return json.loads(text)


def _decode_zip(file: BinaryIO) -> DecodedModel:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MAX_OBJECTS:
            raise ModelError(f"a zip of {len(members)} files is no .keras model")
        check_size("all of it, uncompressed", sum(each.file_size for each in members), "file_mb", ModelError)
        metadata = parse_config(_member(archive, "metadata.json", "text_mb"))
        decoded = DecodedModel(
            ".keras", str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else "", None
        )
        decoded.config = parse_config(_member(archive, "config.json", "text_mb"))
        if WEIGHTS not in archive.namelist():
            raise ModelError(f"a zip file, but no whole .keras model: there is no {WEIGHTS} in it")
        with h5py.File(io.BytesIO(_member(archive, WEIGHTS, "file_mb")), "r") as weights:
            decoded.arrays = {path.replace("\\", "/"): array for path, array in _arrays(weights)}
        for each in members:
            if each.filename.startswith(_ASSETS) and not each.is_dir():
                decoded.assets[each.filename.removeprefix(_ASSETS)] = archive.read(each)
    return decoded


def _member(archive: zipfile.ZipFile, member: str, key: str) -> bytes:
    check_size(f"{member} in it", archive.getinfo(member).file_size, key, ModelError)
    return archive.read(member)


def _decode_hdf5(file: BinaryIO) -> DecodedModel:
    with h5py.File(f"/proc/self/fd/{file.fileno()}" if _has_proc() else file, "r") as stored:
        text = _text(stored.attrs.get("model_config", ""))
        decoded = DecodedModel(".h5", _text(stored.attrs.get("keras_version", "")), None)
        if not text:
            raise ModelError(
                "this .h5 holds weights only, no model. Save it with model.save() in place of save_weights(), "
                "or build the model with model=user and load the weights there"
            )
        decoded.config = parse_config(text)
        weights = _group(stored, "model_weights")
        decoded.arrays = dict(_arrays(weights))
        for path, group in [("", weights), *_groups(weights)]:
            decoded.names[path] = {
                key: _plain_attribute(group.attrs[key]) for key in group.attrs if _is_order_attribute(key)
            }
    return decoded


def _has_proc() -> bool:
    return Path("/proc/self/fd").is_dir()


def _is_order_attribute(key: str) -> bool:
    return key in ("keras_version", "backend") or key.rstrip("0123456789") in ("layer_names", "weight_names")


def _plain_attribute(value: object) -> Any:
    if isinstance(value, bytes | str):
        return _text(value)
    return [_text(each) for each in np.asarray(value).reshape(-1).tolist()]


def _text(value: object) -> str:
    if not isinstance(value, bytes | str):
        raise ValueError(f"a {type(value).__name__} where a text is expected")
    return value.decode() if isinstance(value, bytes) else value


def _group(parent: h5py.Group, key: str) -> h5py.Group:
    if not isinstance(parent.get(key, getlink=True), h5py.HardLink):
        raise ModelError(f"{key} in it is missing, or a link to somewhere else")
    group = parent[key]
    if not isinstance(group, h5py.Group):
        raise ModelError(f"{key} in it is no group")
    return group


def _walk(top: h5py.Group) -> Iterator[tuple[str, Any]]:
    """Walk over every group and data set below `top`, by path. Links, to other files or in this one, are refused."""
    todo, count = [("", top)], 0
    while todo:
        path, group = todo.pop()
        for key in group:
            count += 1
            if count > MAX_OBJECTS or path.count("/") > 100:
                raise ModelError("more groups and arrays than any saved model has, or groups in a circle")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ModelError(f"{path}{key} in it is a link to another place or file; saved models have none")
            item = group[key]
            yield f"{path}{key}", item
            if isinstance(item, h5py.Group):
                todo.append((f"{path}{key}/", item))


def _groups(top: h5py.Group) -> Iterator[tuple[str, h5py.Group]]:
    yield from ((path, item) for path, item in _walk(top) if isinstance(item, h5py.Group))


def _arrays(top: h5py.Group) -> Iterator[tuple[str, NDArray]]:
    total = 0
    for path, item in _walk(top):
        if not isinstance(item, h5py.Dataset):
            continue
        if item.external or item.is_virtual:
            raise ModelError(f"{path} in it is kept in another file; saved models keep their weights themselves")
        if item.dtype.kind not in "fiub":
            raise ModelError(f"{path} in it holds {item.dtype}, no numbers")
        total += item.nbytes
        check_size("the weights in it", total, "file_mb", ModelError)
        if item.nbytes > MB and item.id.get_storage_size() == 0:
            raise ModelError(f"{path} in it says {list(item.shape)} and stores nothing")
        yield path, np.asarray(item[()])
