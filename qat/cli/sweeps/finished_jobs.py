"""Which jobs of a sweep directory are finished: recognized by their config, not by their number."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from qat import rundir
from qat.cli.untrusted_settings import read_yaml
from qat.config import Config
from qat.limits import DAMAGE
from qat.setting import NOTHING, without_effect

HYDRA_FOLDER = ".hydra"
WITHOUT_EFFECT = without_effect(Config, NOTHING)  # a job resumed with another cache is the same
OLD_DEFAULTS = {"samples": 256, "min_samples": 100}  # of quant.calibration, before its default was null


@dataclass(frozen=True)
class JobFolder:
    """The folder of a job that was started, and whether it holds results."""

    folder: str  # relative to the sweep's directory
    finished: bool


def fingerprint(config: DictConfig) -> str:
    """A digest (SHA-256) of everything in a job's config that has an effect on results.

    >>> a, b, c = ({"seed": 1, "threads": 2}, {"threads": None, "seed": 1}, {"seed": 2, "threads": 2})
    >>> fingerprint(OmegaConf.create(a)) == fingerprint(OmegaConf.create(b))
    True
    >>> fingerprint(OmegaConf.create(a)) == fingerprint(OmegaConf.create(c))
    False
    """
    return _digest(_settings(config))


def _settings(config: DictConfig) -> dict[str, Any]:
    """What has an effect on results; `train.threads` where it is said."""
    ours = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    values: Any = OmegaConf.to_container(ours, resolve=True)
    for key in WITHOUT_EFFECT:
        _drop(values, key)
    calibration = (values.get("quant") or {}).get("calibration") or {}
    calibration.update({key: old for key, old in OLD_DEFAULTS.items() if calibration.get(key, old) is None})
    if (values.get("train") or {}).get("threads") is None:
        _drop(values, "train.threads")
    return values


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _fingerprints(config: DictConfig) -> set[str]:
    """Its fingerprint, and that of the same job where nobody asks for its threads: its launcher may have set them."""
    values = _settings(config)
    of_threads = _digest(values)
    _drop(values, "train.threads")
    return {of_threads, _digest(values)}


def find_jobs(sweep_dir: Path) -> tuple[dict[str, JobFolder], list[str]]:
    """Find the jobs in a sweep directory by their fingerprint, and the folders whose config cannot be read.

    Of several folders of one job, a finished one is preferred.
    """
    jobs: dict[str, JobFolder] = {}
    unknown = []
    for folder in _job_folders(sweep_dir):
        name = folder.relative_to(sweep_dir).as_posix()
        try:
            keys = _fingerprints(OmegaConf.create(read_yaml(folder / HYDRA_FOLDER / "config.yaml")))
        except (*DAMAGE, OmegaConfBaseException, YAMLError):
            unknown.append(name)
            continue
        job = JobFolder(name, (folder / rundir.RESULTS).is_file())
        jobs |= {key: job for key in keys if key not in jobs or (job.finished and not jobs[key].finished)}
    return jobs, unknown


def read_failure(folder: Path) -> tuple[str, int] | None:
    """Read the message and exit code that a failed job left; None where it left none."""
    try:
        record = rundir.read_json(folder / rundir.FAILED)
        return str(record["message"]), int(record["exit_code"])
    except (rundir.RunDirError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _job_folders(sweep_dir: Path) -> Iterator[Path]:
    """Folders that Hydra made for a job, in order; folders inside one belong to it and are not searched."""
    for path, folders, _ in os.walk(sweep_dir):
        if HYDRA_FOLDER in folders and Path(path) != sweep_dir:
            folders.clear()
            yield Path(path)
        folders.sort()


def _drop(values: dict[str, Any], key: str) -> None:
    """Remove a dotted key, and each section that is empty without it."""
    name, _, rest = key.partition(".")
    inner = values.get(name)
    if rest and isinstance(inner, dict):
        _drop(inner, rest)
    if not rest or inner == {}:
        values.pop(name, None)
