"""From a decoded and checked config to a Keras model: made by Keras' own functions, with weights from memory."""

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
from qat.models.untrusted.assemble_keras3 import assemble_keras3, register_own
from qat.models.untrusted.check_config import IN_HDF5
from qat.models.untrusted.decode import DecodedModel
from qat.models.untrusted.group_names import map_group_names

READABLE = ("2", "3")  # major versions of Keras
PUBLISHED = {"LayerScale": LayerScale, "StochasticDepth": StochasticDepth}  # ConvNeXt's, not registered by Keras


def assemble(decoded: DecodedModel, *, with_assets: bool = True, trusted: bool = False) -> Any:
    """Make the model, not compiled. The config must have been checked, or be trusted.

    Args:
        decoded: config, arrays of the stored shapes and dtypes by path, and vocabularies, as `decode` reads them.
        with_assets: whether to set vocabularies too, which takes a temporary folder.
        trusted: whether to make Lambda layers, too, from the code in the config of a .keras file.

    Returns:
        The model with the weights of the file.

    Raises:
        ModelError: the config describes something else.
        Exception: whatever Keras raises for configs and weights that do not fit.
    """
    if decoded.keras_major == "3":
        return assemble_keras3(decoded, with_assets)
    with tf_keras.utils.custom_object_scope(PUBLISHED):
        return _from_keras(decoded, with_assets, trusted) if decoded.kind == ".keras" else _from_hdf5(decoded)


def _from_hdf5(decoded: DecodedModel) -> tf_keras.Model:
    register_own(decoded.config.get("class_name") == IN_HDF5)
    model = legacy_config.model_from_config(json_utils.decode(json.dumps(decoded.config)))
    hdf5_format.load_weights_from_hdf5_group(_StoredGroup(decoded, ""), model)
    return model


def _from_keras(decoded: DecodedModel, with_assets: bool, trusted: bool) -> tf_keras.Model:
    with _v3_format(), ObjectSharingScope():
        model = deserialize_keras_object(copy.deepcopy(decoded.config), safe_mode=not trusted)  # Keras takes it apart
        if not isinstance(model, tf_keras.Model):
            raise ModelError(f"its config describes a {type(model).__name__} and no model")
        names = map_group_names(model, decoded.arrays, decoded.assets)
        weights = _Weights(decoded.arrays, names)
        if not (decoded.assets and with_assets):
            saving_lib._load_state(model, weights, None, "", visited_trackables=set())
            return model
        with tempfile.TemporaryDirectory(prefix="qat-") as folder:
            assets = _Assets(Path(folder), decoded.assets, names)
            saving_lib._load_state(model, weights, assets, "", visited_trackables=set())
    return model


@contextmanager
def _v3_format() -> Iterator[None]:
    """Set Keras' own flag for configs of .keras files, as its load_model does."""
    before = getattr(saving_lib._SAVING_V3_ENABLED, "value", False)
    saving_lib._SAVING_V3_ENABLED.value = True
    try:
        yield
    finally:
        saving_lib._SAVING_V3_ENABLED.value = before


class _Weights:
    """The interface of Keras' weights store: the variables of the object at a path, by number."""

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
    """The interface of Keras' assets store: vocabularies as files in a temporary folder."""

    def __init__(self, folder: Path, assets: Mapping[str, bytes], names: Mapping[str, str]) -> None:
        self._names = names
        self._folders: dict[str, str] = {}
        for number, (path, content) in enumerate(sorted(assets.items())):
            owner, _, name = path.rpartition("/")
            folder_of_owner = Path(self._folders.setdefault(owner, str(folder / str(number))))
            folder_of_owner.mkdir(exist_ok=True)
            if name.replace(".", "").isidentifier():
                (folder_of_owner / name).write_bytes(content)

    def get(self, path: str) -> str | None:
        return self._folders.get(self._names.get(path, path))


class _StoredGroup:
    """The interface of an HDF5 group that Keras uses: attributes for the order of layers, groups and arrays by name."""

    def __init__(self, decoded: DecodedModel, path: str) -> None:
        self._decoded = decoded
        self._path = path
        self.attrs: dict[str, Any] = decoded.names.get(path, {})

    def __contains__(self, name: str) -> bool:
        inner = f"{self._path}/{name}".lstrip("/")
        return inner in self._decoded.names or inner in self._decoded.arrays

    def __getitem__(self, name: str) -> Any:
        inner = f"{self._path}/{name}".strip("/").replace("//", "/")
        if inner in self._decoded.arrays:
            return self._decoded.arrays[inner]
        if inner in self._decoded.names:
            return _StoredGroup(self._decoded, inner)
        raise KeyError(f"there is no {inner[:200]} in it")
