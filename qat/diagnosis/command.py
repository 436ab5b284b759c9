"""From a checked config, or a run directory, to diagnoses: paths are opened, functions imported, verdicts written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from qat import rundir
from qat.config import DataConfig, DiagnoseConfig
from qat.contract import Contract, apply
from qat.data.stored_arrays import read_array
from qat.diagnosis import Diagnosis, diagnose
from qat.diagnosis.report import text
from qat.errors import ConfigError, DataError, ModelError, QatError, RunDirError
from qat.limits import check_size
from qat.plain_text import address_hint
from qat.results import RunResult
from qat.targets import import_object
from qat.tasks import BY_METRIC
from qat.tflite.reader import read
from qat.trust import refuse_targets
from qat.variants import BY_VARIANT
from qat.warning import warn

if TYPE_CHECKING:
    from qat.data import Splits

_KEYS = {  # of the command line, by argument of `diagnose`
    "inputs": "data",
    "keras_model": "keras",
    "user_preprocess": "user.preprocess",
    "user_run": "user.run",
    "fed": "user.fed",
    "outputs": "user.outputs",
}
INPUT_NAMES, LABEL_NAMES = ("inputs", "x_test", "x", "images"), ("labels", "y_test", "y")


@dataclass(frozen=True)
class CommandVerdict:
    """What the command line needs: the exit code and the message."""

    exit_code: int
    summary: str


Page = Callable[[Mapping[str, Diagnosis]], str]


def read_jobs(config: DiagnoseConfig) -> dict[str, dict[str, Any]]:
    """Read all that the config names but the Keras model, which takes TensorFlow.

    Args:
        config: checked by Hydra against its fields; names the file or the run, and what else is known.

    Returns:
        Keyword arguments of `diagnose`, for each file by its name.

    Raises:
        ConfigError: neither or both of `tflite` and `run`, a function that cannot be found.
        DataError, TfliteFileError, ModelError, RunDirError: what is named cannot be used.
    """
    if (config.tflite is None) == (config.run is None):
        raise ConfigError("tflite and run: give one of them, a .tflite or the directory of a run of qat.train")
    if config.run is not None:
        return dict(read_run_jobs(Path(config.run), config.samples, config.trust))
    read(str(config.tflite))
    if config.keras is not None and not Path(config.keras).exists():
        raise ModelError(f"keras={config.keras}: no such file or folder.{address_hint(config.keras)}")
    return {str(config.tflite): _arguments(config)}


def run_diagnoses(jobs: Mapping[str, dict[str, Any]], folder: Path, page: Page, *, by_name: bool) -> CommandVerdict:
    """Diagnose each file; print, and write `diagnosis.json` and `diagnosis.html` into `folder`.

    Args:
        jobs: keyword arguments of `diagnose` by the file's name, as `read_jobs` returns them.
        folder: folder that both files are written into; it exists.
        page: function of the diagnoses by the files' names: the text of the HTML page.
        by_name: write each diagnosis under its file's name, as of a run; else there is one, and it is written alone.

    Returns:
        The exit code and a line for each file that is not sound.

    Raises:
        DataError, TfliteFileError, ModelError: what is named cannot be used.
    """
    diagnoses: dict[str, Diagnosis] = {}
    for name, arguments in jobs.items():
        with _naming_keys():
            diagnoses[name] = diagnose(**arguments)
        print(f"{name}\n{text(diagnoses[name])}", flush=True)
    plain: Any = {name: each.to_dict() for name, each in diagnoses.items()}
    rundir.write_json(folder / "diagnosis.json", plain if by_name else next(iter(plain.values())))
    rundir.write_text(folder / "diagnosis.html", page(diagnoses))
    print(f"written:\n  {folder / 'diagnosis.json'}\n  {folder / 'diagnosis.html'}", flush=True)
    return _verdict(diagnoses)


@contextmanager
def _naming_keys() -> Iterator[None]:
    """Let a refusal name the key of the command line in place of the argument of `diagnose`."""
    try:
        yield
    except QatError as error:
        error.subject = _KEYS.get(error.subject, error.subject)
        raise


def _verdict(diagnoses: dict[str, Diagnosis]) -> CommandVerdict:
    codes = [each.exit_code for each in diagnoses.values()]
    worst = 1 if 1 in codes else max(codes, default=0)
    lines = [
        f"{name}: blame {each.blame}; "
        + (
            " ".join(f"{c.sentence} ({c.id} {c.name}, {c.certainty})" for c in each.causes)
            or each.mismatch
            or "no cause"
        )
        for name, each in diagnoses.items()
        if each.exit_code
    ]
    return CommandVerdict(worst, "\n  ".join(lines))


def _arguments(config: DiagnoseConfig) -> dict[str, Any]:
    inputs, labels, contract = _data(config.samples_from, config.samples)
    return {
        "tflite_model": config.tflite,
        "keras_model": config.keras,
        "inputs": inputs,
        "labels": labels,
        "preprocess": _function("preprocess", config.preprocess) or contract,
        "user_preprocess": _function("user.preprocess", config.user.preprocess),
        "user_run": _function("user.run", config.user.run),
        "fed": _array("user.fed", config.user.fed, config.samples),
        "outputs": _array("user.outputs", config.user.outputs, config.samples),
        "calibration": _function("calibration", config.calibration),
        "expect": config.expect,
        "trust": config.trust is True,
    }


def _data(path: str | None, samples: int) -> tuple[NDArray | None, NDArray | None, Callable | None]:
    """Raw samples, labels, and the preprocessing that a data set of ours brings."""
    from qat.data import DATASETS

    if path is None:
        return None, None, None
    if path in DATASETS and not Path(path).exists():
        return _data_set(path, samples)
    stored = read_array(path, "data")
    if isinstance(stored, np.ndarray):
        return stored[:samples], None, None
    inputs, labels = (next((stored[n] for n in names if n in stored), None) for names in (INPUT_NAMES, LABEL_NAMES))
    if inputs is None:
        stored_names, wanted = ", ".join(stored), ", ".join(INPUT_NAMES)
        raise DataError(f"data={path}: holds {stored_names}; expected raw samples under one of {wanted}")
    if inputs.ndim == 0 or (labels is not None and labels.ndim == 0):
        raise DataError(f"data={path}: inputs and labels are single numbers; expected arrays [N, ...]")
    return inputs[:samples], None if labels is None else labels[:samples], None


def _data_set(name: str, samples: int) -> tuple[NDArray, NDArray, Callable]:
    from qat.data import load

    test = load(DataConfig(name=name), 1, 0).test
    indices = np.arange(min(samples, len(test)))
    return np.asarray(test.raw(indices)), test.labels[indices], lambda raw: apply(test.contract, raw)


def _array(key: str, path: str | None, samples: int) -> NDArray | None:
    if path is None:
        return None
    diagnoses = read_array(path, key)
    if not isinstance(diagnoses, np.ndarray) or diagnoses.ndim == 0:
        raise DataError(f"{key}={path}: expected one array [N, ...] in an .npy")
    return diagnoses[:samples]


def _function(key: str, name: str | None) -> Callable | None:
    if name is None:
        return None
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in f"{module}.{attribute}".split(".")):
        raise ConfigError(f"{key}={name}: expected module:function, as in my_app:prepare")
    function = import_object(f"{key}={name}", f"{module}.{attribute}")
    if not callable(function):
        raise ConfigError(f"{key}={name}: this is a {type(function).__name__}; expected a function")
    return function


# ---- a run directory: float model, files, data and input contract are all there


def read_run_jobs(folder: Path, samples: int, trust: Any = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Arguments of `diagnose` for each file of a finished run, by the file's path in it.

    Args:
        folder: the directory of the run; what is in it is data, and anybody may have written it.
        samples: how many samples of the test split to use, the first ones.
        trust: true, or the dotted names of the `_target_`s that its config may call.

    Returns:
        Pairs of the file's path and keyword arguments of `diagnose`, one for each variant of the run.

    Raises:
        RunDirError: no finished run, one whose config names functions that are not trusted, or files outside of it.
    """
    record = folder / rundir.RESULTS
    try:
        result = RunResult.from_dict(rundir.read_json(record))
    except ValueError as error:
        raise RunDirError(f"{record}: {error}") from error
    if not result.variants:
        raise RunDirError(f"{record}: variants is empty, so there is no file to diagnose. It was changed since the run")
    for phrase in rundir.changed_files(folder, result.sha256):
        warn(f"{folder}: {phrase}; it is diagnosed as it is now")
    splits = _splits(_data_config(result.config.get("data"), record, trust), _seed(result.seeds), record)
    indices = np.arange(min(samples, len(splits.test)))
    inputs = np.asarray(splits.test.raw(indices))
    quant = result.config.get("quant")
    quant = quant if isinstance(quant, dict) else {}
    keras = folder / "float" / rundir.MODEL_KERAS
    for name, variant in result.variants.items():
        path, task = _inside(folder, variant.file, record), BY_METRIC.get(variant.metric.name)
        contract = _contract(path.with_name(rundir.MODEL_JSON)) or splits.test.contract
        needed = 4.0 * math.prod(contract.shape) * len(indices)
        check_size(
            f"{path.with_name(rundir.MODEL_JSON)}: {len(indices)} inputs of its shape", needed, "file_mb", RunDirError
        )
        yield (
            str(path),
            {
                "tflite_model": str(path),
                "keras_model": str(keras) if keras.exists() else None,
                "inputs": inputs,
                "labels": splits.test.labels[indices] if task is not None and task.has_classes else None,
                "preprocess": lambda raw, contract=contract: apply(contract, raw),
                "expect": None if quant.get("skip") or name not in BY_VARIANT else BY_VARIANT[name].scheme,
                "trust": trust is True,
                "per_channel": quant.get("per_channel", True) is not False,
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
    if not isinstance(plain, dict) or "${" in json.dumps(plain):
        raise RunDirError(f"{record}: config.data is not what a run of qat writes")
    try:
        node = OmegaConf.structured(DataConfig)
        OmegaConf.set_struct(node.target, False)
        return cast(DataConfig, OmegaConf.to_object(OmegaConf.merge(node, plain)))
    except (OmegaConfBaseException, ValueError, TypeError, OverflowError) as error:
        raise RunDirError(
            f"{record}: config.data is not what a run of qat writes: {str(error).splitlines()[0]}"
        ) from error


def _seed(seeds: Mapping[str, Any] | None) -> int:
    seed = (seeds or {}).get("seed", 0)
    return seed if isinstance(seed, int) and 0 <= seed < 1 << 31 else 0


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
