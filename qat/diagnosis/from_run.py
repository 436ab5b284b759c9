"""The project's own run directories: float model, files, data and input contract are all there."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from qat import rundir
from qat.config import DataConfig
from qat.contract import Contract, apply
from qat.errors import ConfigError, RunDirError
from qat.limits import check_size
from qat.results import RunResult
from qat.trust import refuse_targets
from qat.variants import BY_VARIANT

if TYPE_CHECKING:
    from qat.data import Splits


def jobs_of_run(folder: Path, samples: int, trust: Any = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Arguments of `diagnose` for each file of a finished run, by the file's path in it.

    Args:
        folder: the directory of the run; what is in it is data, and anybody may have written it.
        samples: of the test split, the first.
        trust: true, or the `_target_`s that its config may call.

    Raises:
        RunDirError: no finished run, one whose config names functions that are not trusted, or files outside of it.
    """
    record = folder / rundir.RESULTS
    try:
        result = RunResult.from_dict(rundir.read_json(record))
    except ValueError as error:
        raise RunDirError(f"{record}: {error}") from error
    for phrase in rundir.changed_files(folder, result.sha256):
        warnings.warn(f"{folder}: {phrase}; it is diagnosed as it is now", stacklevel=2)
    splits = _splits(_data_config(result.config.get("data"), record, trust), _seed(result.seeds), record)
    chosen = np.arange(min(samples, len(splits.test)))
    inputs = np.asarray(splits.test.raw(chosen))
    quant = result.config.get("quant")
    skips = isinstance(quant, dict) and bool(quant.get("skip"))
    keras = folder / "float" / rundir.MODEL_KERAS
    for name, variant in result.variants.items():
        path = _inside(folder, variant.file, record)
        contract = _contract(path.with_name(rundir.MODEL_JSON)) or splits.test.contract
        needed = 4.0 * math.prod(contract.shape) * len(chosen)
        check_size(
            f"{path.with_name(rundir.MODEL_JSON)}: {len(chosen)} inputs of its shape", needed, "file_mb", RunDirError
        )
        yield (
            str(path),
            {
                "tflite_model": str(path),
                "keras_model": str(keras) if keras.exists() else None,
                "inputs": inputs,
                "labels": splits.test.labels[chosen] if variant.metric.name == "accuracy" else None,
                "preprocess": lambda raw, contract=contract: apply(contract, raw),
                "expect": None if skips or name not in BY_VARIANT else BY_VARIANT[name].file_kind,
                "trust": trust is True,
            },
        )


def _splits(config: DataConfig, seed: int, record: Path) -> Splits:
    from qat.data import load

    try:
        return load(config, 1, seed)
    except (TypeError, AttributeError, OverflowError) as error:  # lists whose entries are no numbers
        raise RunDirError(f"{record}: config.data is not what a run of qat writes ({error})") from error


def _data_config(plain: Any, record: Path, trust: Any) -> DataConfig:
    """The data options of the run, with the types that they must have and no function that is not trusted."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    refuse_targets({"data": plain}, str(record), trust, RunDirError)
    if not isinstance(plain, dict) or any("${" in text for text in _texts(plain)):
        raise RunDirError(f"{record}: config.data is not what a run of qat writes")
    try:
        node = OmegaConf.structured(DataConfig)
        OmegaConf.set_struct(node.target, False)
        return cast(DataConfig, OmegaConf.to_object(OmegaConf.merge(node, plain)))
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        raise RunDirError(
            f"{record}: config.data is not what a run of qat writes: {str(error).splitlines()[0]}"
        ) from error


def _seed(seeds: Mapping[str, Any]) -> int:
    seed = seeds.get("seed", 0)
    return seed if isinstance(seed, int) and 0 <= seed < 1 << 31 else 0


def _texts(plain: Any) -> Iterator[str]:
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(plain, list | tuple):
        for value in plain:
            yield from _texts(value)
    elif isinstance(plain, str):
        yield plain


def _inside(folder: Path, file: str, record: Path) -> Path:
    path = folder / file
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise RunDirError(f"{record}: file {file[:200]!r} of a variant lies outside of the run's directory")
    return path


def _contract(path: Path) -> Contract | None:
    if not path.is_file():
        return None
    try:
        return Contract.from_dict(rundir.read_json(path)["contract"])
    except (ConfigError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise RunDirError(f"{path}: no contract that can be used ({error})") from error
