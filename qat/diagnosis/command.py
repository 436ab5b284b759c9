"""From a checked config to diagnoses: paths are opened, functions imported, verdicts printed and written."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat import rundir
from qat.config import DiagnoseConfig
from qat.data.stored_arrays import read_array
from qat.diagnosis import Diagnosis, diagnose
from qat.diagnosis.report import text
from qat.errors import ConfigError, DataError

INPUT_NAMES, LABEL_NAMES = ("inputs", "x_test", "x", "images"), ("labels", "y_test", "y")


@dataclass(frozen=True)
class CommandVerdict:
    """What the command line needs: the exit code and the message."""

    exit_code: int
    summary: str


Page = Callable[[Mapping[str, Diagnosis]], str]


def run_diagnoses(config: DiagnoseConfig, folder: Path, page: Page) -> CommandVerdict:
    """Diagnose what the config names; print, and write `diagnosis.json` and `diagnosis.html` into `folder`.

    Args:
        config: checked by Hydra against its fields; names the file or the run, and what else is known.
        folder: where both files go; exists.
        page: makes the HTML page of the diagnoses by the files' names.

    Returns:
        The exit code and a line for each file that is not sound.

    Raises:
        ConfigError: neither or both of `tflite` and `run`, a function that cannot be found.
        DataError, TfliteFileError, ModelError: what is named cannot be used.
    """
    if (config.tflite is None) == (config.run is None):
        raise ConfigError(
            f"tflite={config.tflite}, run={config.run}: give one of them, a .tflite or the directory "
            "of a run of qat.train"
        )
    if config.samples < 1:
        raise ConfigError(f"samples={config.samples}: expected at least 1")
    diagnoses: dict[str, Diagnosis] = {}
    for name, arguments in _jobs(config):
        diagnoses[name] = diagnose(**arguments)
        print(f"{name}\n{text(diagnoses[name])}", flush=True)
    plain: Any = {name: each.to_dict() for name, each in diagnoses.items()}
    rundir.write_json(folder / "diagnosis.json", plain[config.tflite] if config.tflite else plain)
    rundir.write_text(folder / "diagnosis.html", page(diagnoses))
    print(f"written:\n  {folder / 'diagnosis.json'}\n  {folder / 'diagnosis.html'}", flush=True)
    return _verdict(diagnoses)


def _verdict(diagnoses: dict[str, Diagnosis]) -> CommandVerdict:
    codes = [each.exit_code for each in diagnoses.values()]
    worst = 1 if 1 in codes else max(codes, default=0)
    lines = [
        f"{name}: blame {each.blame}; "
        + (" ".join(f"{c.sentence} ({c.id} {c.name}, {c.certainty})" for c in each.causes) or "no cause")
        for name, each in diagnoses.items()
        if each.exit_code
    ]
    return CommandVerdict(worst, "\n  ".join(lines))


def _jobs(config: DiagnoseConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    if config.run is not None:
        from qat.diagnosis.from_run import read_run_jobs

        yield from read_run_jobs(Path(config.run), config.samples, config.trust)
        return
    inputs, labels, contract = _data(config.samples_from, config.samples)
    yield (
        config.tflite,
        {
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
        },
    )


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
        held, wanted = ", ".join(stored), ", ".join(INPUT_NAMES)
        raise DataError(f"data={path}: holds {held}; expected raw samples under one of {wanted}")
    if inputs.ndim == 0 or (labels is not None and labels.ndim == 0):
        raise DataError(f"data={path}: inputs and labels are single numbers; expected arrays [N, ...]")
    return inputs[:samples], None if labels is None else labels[:samples], None


def _data_set(name: str, samples: int) -> tuple[NDArray, NDArray, Callable]:
    from qat.config import DataConfig
    from qat.contract import apply
    from qat.data import load

    test = load(DataConfig(name=name), 1, 0).test
    chosen = np.arange(min(samples, len(test)))
    return np.asarray(test.raw(chosen)), test.labels[chosen], lambda raw: apply(test.contract, raw)


def _array(key: str, path: str | None, samples: int) -> NDArray | None:
    if path is None:
        return None
    diagnoses = read_array(path, key)
    if not isinstance(diagnoses, np.ndarray) or diagnoses.ndim == 0:
        raise DataError(f"{key}={path}: expected one array [N, ...] in an .npy")
    return diagnoses[:samples]


def _function(key: str, name: str | None) -> Callable | None:
    """`module:function`, looked for in the current folder as well."""
    if name is None:
        return None
    module_name, _, attribute = name.partition(":")
    if not attribute:
        raise ConfigError(f"{key}={name}: expected module:function, as in my_app:prepare")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        diagnoses = getattr(importlib.import_module(module_name), attribute, None)
    except ImportError as error:
        raise ConfigError(f"{key}={name}: {module_name} cannot be imported ({error})") from error
    if not callable(diagnoses):
        raise ConfigError(f"{key}={name}: {module_name} has no function {attribute}")
    return diagnoses
