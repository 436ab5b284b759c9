"""How many threads each of several jobs on one machine may use, so that together they use its cores and no more."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import DictConfig

from qat.cli.sweeps.resume import key_of


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _joblib(launcher: Any, jobs: int) -> int:
    """However few the jobs: workers live on from batch to batch, and TensorFlow sets its threads once a process."""
    workers = int(launcher.n_jobs)
    return cores() // (workers if workers > 0 else max(1, cores() + 1 + workers))


def _ray(launcher: Any, jobs: int) -> int:
    return int(launcher.cpus_per_job)


def _slurm(launcher: Any, jobs: int) -> int:
    return int(launcher.cpus_per_task or 1)


def _side_by_side(launcher: Any, jobs: int) -> int:
    return cores() // jobs


SHARES: dict[str, Callable[[Any, int], int]] = {
    "JoblibLauncher": _joblib,
    "RayLauncher": _ray,
    "SlurmLauncher": _slurm,
    "LocalLauncher": _side_by_side,  # of submitit: starts all jobs at once
}
"""Class of a launcher -> threads of one of `jobs` jobs. Jobs of a launcher that is not here run one after another."""


def shared_out(config: DictConfig, jobs: int, given: Sequence[str]) -> list[str]:
    """Overrides that give each of `jobs` jobs its share of the cores, and its own lines of progress.

    What the command line says itself (`given`) is left as it is.
    """
    name = str(config.hydra.launcher._target_).rpartition(".")[2]
    if name not in SHARES or "train" not in config or "threads" not in config:
        return []
    share = max(1, SHARES[name](config.hydra.launcher, jobs))
    wanted = {"train.threads": str(share), "threads": str(share)}
    if config.log.progress == "auto":
        wanted["log.progress"] = "plain"  # bars of several jobs would paint over each other
    said = {key_of(override) for override in given}
    return [f"{key}={value}" for key, value in wanted.items() if key not in said]
