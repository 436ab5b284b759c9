"""Float models by everything that determines them, so that a sweep over quantizers trains each once.

An entry is a folder that appears whole: written under another name, then renamed. It holds the weights alone, with
their SHA-256; the config builds the model, a user's function with custom layers included.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

import qat
from qat import rundir
from qat.config import Config
from qat.data import Splits
from qat.data.stored_arrays import read_arrays
from qat.errors import RunDirError
from qat.limits import DAMAGE
from qat.models.keras_types import KerasModel
from qat.setting import NOTHING, settings_of
from qat.stages.provenance import package_versions

RECORD, WEIGHTS = "float.json", "weights.npz"
_CODE_THAT_COUNTS = ("data", "models", "training")
_PACKAGES_THAT_COUNT = ("tensorflow", "tf_keras", "numpy")


History = tuple[dict[str, float], ...]


@dataclass(frozen=True)
class Entry:
    """One model's folder in the cache, the key that names it, and all that the key is a digest of."""

    folder: Path
    key: str
    determined_by: dict[str, Any]


def cache_folder(config: Config) -> Path:
    """`float_cache`, or `qat/float` in the user's cache folder (XDG_CACHE_HOME, else ~/.cache)."""
    if config.float_cache is not None:
        return Path(config.float_cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qat" / "float"


def find_entry(config: Config, splits: Splits, threads: int) -> Entry:
    """The entry of the model that this config would train on these splits, present or not.

    Args:
        config: the run's config; its model, float training, augmentation and seed decide, its quantizer does not.
        splits: the run's data, which counts by its fingerprint.
        threads: number of threads that TensorFlow computes with.

    Returns:
        Folder and key of the entry; the key has 24 hex digits of a SHA-256.
    """
    determined_by = {
        "model": _settings_that_count(config.model),
        "model_files": _files_of_model(config),
        "train": _settings_that_count(config.train) | {"threads": threads},
        "augmentation": _settings_that_count(config.data.augmentation),
        "splits": splits.fingerprint(),
        "classes": len(splits.class_names),
        "seed": config.seed,
        "versions": {name: package_versions()[name] for name in _PACKAGES_THAT_COUNT},
        "code": _code_digest(),
    }
    key = hashlib.sha256(json.dumps(determined_by, sort_keys=True, default=str).encode()).hexdigest()[:24]
    return Entry(cache_folder(config) / key, key, determined_by)


def _settings_that_count(section: Any) -> dict[str, Any]:
    settings = settings_of(type(section)).items()
    return {key: attrgetter(key)(section) for key, each in settings if each.effect != NOTHING}


def load(entry: Entry, model: KerasModel, say: Callable[[str], None]) -> History | None:
    """Give `model` the weights of a whole entry; a damaged entry is named and removed.

    Args:
        entry: folder and key of the entry.
        model: a built Keras model of the same architecture, whose weights are set in place.
        say: function that prints one message.

    Returns:
        One dict of metrics by name per epoch of its training; None where there is no whole entry.
    """
    if not entry.folder.is_dir():
        return None
    path = entry.folder / WEIGHTS
    try:
        record = rundir.read_json(entry.folder / RECORD)
        arrays = read_arrays(path, "weights")
        if rundir.sha256(path) != record["sha256"]:
            raise RunDirError(f"{path}: its content is not what was written")
        history = tuple({str(name): float(value) for name, value in epoch.items()} for epoch in record["history"])
        model.set_weights(list(arrays.values()))
        return history
    except DAMAGE as error:
        say(f"float cache: {entry.folder} is damaged ({error}); it is removed and the model trained again")
        shutil.rmtree(entry.folder, ignore_errors=True)
        return None


def store(entry: Entry, model: KerasModel, history: History, say: Callable[[str], None]) -> None:
    """Keep a trained model's weights; a full or read-only cache is reported, and the run goes on.

    Args:
        entry: folder and key under which they are kept.
        model: the trained Keras model; its weights are kept in their own shapes and dtypes.
        history: its training: one dict of metrics by name per epoch.
        say: function that prints one message.
    """
    part = entry.folder.with_name(f".{entry.key}.{os.getpid()}.part")
    for leftover in entry.folder.parent.glob(f".{entry.key}.*.part"):  # of one that was killed: it had the turn
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with rundir.whole_file(part / WEIGHTS) as path:
            np.savez(path, *model.get_weights())
        record = {
            "sha256": rundir.sha256(part / WEIGHTS),
            "history": list(history),
            "determined_by": json.loads(json.dumps(entry.determined_by, default=str)),
        }
        rundir.write_json(part / RECORD, record)
        _open_as_parent(part)
        shutil.rmtree(entry.folder, ignore_errors=True)  # of a run that was killed before it recorded it
        part.rename(entry.folder)
    except OSError as error:
        say(f"float cache: the model could not be kept ({error})")
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _open_as_parent(folder: Path) -> None:
    """Let all who may use the cache use an entry: its modes are those of the cache's folder, whatever the umask."""
    mode = stat.S_IMODE(folder.parent.stat().st_mode)
    for file in folder.iterdir():
        file.chmod(mode & 0o666)
    folder.chmod(mode)


def _files_of_model(config: Config) -> dict[str, str]:
    """Digests of what the model config only points to: a weights file, the module of a user's function."""
    files = [Path(config.model.weights)] if config.model.weights else []
    targets = [config.model.target, config.train.optimizer, *config.train.callbacks]
    files += [source for source in map(_source_of, targets) if source is not None]
    return {path.name: rundir.sha256(path) for path in files if path.is_file()}


def _source_of(target: dict[str, Any] | None) -> Path | None:
    module = str((target or {}).get("_target_", "")).rpartition(".")[0]
    try:
        spec = importlib.util.find_spec(module) if module else None
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _code_digest() -> str:
    digest = hashlib.sha256()
    package = Path(qat.__file__).parent
    digest.update((package / "contract.py").read_bytes())
    for package_name in _CODE_THAT_COUNTS:
        for file in sorted((package / package_name).rglob("*.py")):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
