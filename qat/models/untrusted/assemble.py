"""From what was decoded, and checked, to a Keras model: made by Keras' own functions, fed with arrays in memory."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tf_keras
from numpy.typing import NDArray
from tf_keras.src.applications.convnext import LayerScale, StochasticDepth
from tf_keras.src.saving import saving_lib
from tf_keras.src.saving.legacy import hdf5_format
from tf_keras.src.saving.legacy import model_config as legacy_config
from tf_keras.src.saving.legacy.saved_model import json_utils
from tf_keras.src.saving.serialization_lib import ObjectSharingScope, deserialize_keras_object

from qat.errors import ModelError
from qat.models.untrusted.decode import Decoded
from qat.models.untrusted.group_names import stored_under

PUBLISHED = {"LayerScale": LayerScale, "StochasticDepth": StochasticDepth}  # of ConvNeXt, which Keras does not register


def assemble(found: Decoded, *, with_assets: bool = True, trusted: bool = False) -> tf_keras.Model:
    """The model, not compiled. `found.config` must have been checked, or be trusted.

    Args:
        found: config, arrays and vocabularies.
        with_assets: also set vocabularies, which takes a temporary folder.
        trusted: make Lambda layers, too, from the code in the config of a .keras file.

    Raises: whatever Keras raises for configs and weights that do not fit.
    """
    with tf_keras.utils.custom_object_scope(PUBLISHED):
        return _of_keras(found, with_assets, trusted) if found.kind == ".keras" else _of_hdf5(found)


def _of_hdf5(found: Decoded) -> tf_keras.Model:
    model = legacy_config.model_from_config(json_utils.decode(json.dumps(found.config)))
    hdf5_format.load_weights_from_hdf5_group(_StoredGroup(found, ""), model)
    return model


def _of_keras(found: Decoded, with_assets: bool, trusted: bool) -> tf_keras.Model:
    with _v3(), ObjectSharingScope():
        model = deserialize_keras_object(copy.deepcopy(found.config), safe_mode=not trusted)  # Keras takes it apart
        if not isinstance(model, tf_keras.Model):
            raise ModelError(f"its config describes a {type(model).__name__} and no model")
        names = stored_under(model, found.arrays, found.assets)
        weights = _Weights(found.arrays, names)
        if not (found.assets and with_assets):
            saving_lib._load_state(model, weights, None, "", visited_trackables=set())
            return model
        with tempfile.TemporaryDirectory(prefix="qat-") as folder:
            assets = _Assets(Path(folder), found.assets, names)
            saving_lib._load_state(model, weights, assets, "", visited_trackables=set())
    return model


@contextmanager
def _v3() -> Iterator[None]:
    """Keras takes configs as .keras files have them, as its own load_model says to itself."""
    before = getattr(saving_lib._SAVING_V3_ENABLED, "value", False)
    saving_lib._SAVING_V3_ENABLED.value = True
    try:
        yield
    finally:
        saving_lib._SAVING_V3_ENABLED.value = before


class _Weights:
    """What Keras asks its weights store for: the variables of the object at a path, by number."""

    def __init__(self, arrays: Mapping[str, NDArray], names: Mapping[str, str]) -> None:
        self._names = names
        self._variables: dict[str, dict[str, NDArray]] = {}
        for path, array in arrays.items():
            owner, _, number = path.rpartition("/")
            self._variables.setdefault(owner, {})[number] = array

    def get(self, path: str) -> dict[str, NDArray]:
        path = self._names.get(path, path)
        return self._variables.get(f"{path}/vars" if path else "vars", {})


class _Assets:
    """Vocabularies as files in a folder of our own, under names of our own."""

    def __init__(self, folder: Path, assets: Mapping[str, bytes], names: Mapping[str, str]) -> None:
        self._names = names
        self._folders: dict[str, str] = {}
        for number, (path, content) in enumerate(sorted(assets.items())):
            owner, _, name = path.rpartition("/")
            place = Path(self._folders.setdefault(owner, str(folder / str(number))))
            place.mkdir(exist_ok=True)
            if name.replace(".", "").isidentifier():
                (place / name).write_bytes(content)

    def get(self, path: str) -> str | None:
        return self._folders.get(self._names.get(path, path))


class _StoredGroup:
    """What Keras asks an HDF5 group for: attributes that order, groups and arrays by name."""

    def __init__(self, found: Decoded, path: str) -> None:
        self._found = found
        self._path = path
        self.attrs: dict[str, Any] = found.names.get(path, {})

    def __contains__(self, name: str) -> bool:
        inner = f"{self._path}/{name}".lstrip("/")
        return inner in self._found.names or inner in self._found.arrays

    def __getitem__(self, name: str) -> Any:
        inner = f"{self._path}/{name}".strip("/").replace("//", "/")
        if inner in self._found.arrays:
            return self._found.arrays[inner]
        if inner in self._found.names:
            return _StoredGroup(self._found, inner)
        raise KeyError(f"there is no {inner[:200]} in it")
