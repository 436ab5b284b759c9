"""How many threads each of several jobs on one machine may use, so that together they use its cores and no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omegaconf import DictConfig

from qat.cli.sweeps.resume import key_of_override
from qat.errors import ConfigError
from qat.limits import count_cores


def _joblib_share(launcher: DictConfig, jobs: int) -> int:
    """It does not depend on `jobs`: workers serve several batches, and TensorFlow sets its threads once per process."""
    workers = int(launcher.n_jobs)
    if workers == 0:
        raise ConfigError("hydra.launcher.n_jobs=0: expected how many jobs run at a time; -1 is one for each core.")
    return count_cores() // (workers if workers > 0 else max(1, count_cores() + 1 + workers))


SHARES: dict[str, Callable[[DictConfig, int], int]] = {
    "JoblibLauncher": _joblib_share,
    "RayLauncher": lambda launcher, _: int(launcher.cpus_per_job),
    "SlurmLauncher": lambda launcher, _: int(launcher.cpus_per_task or 1),
    "LocalLauncher": lambda _, jobs: count_cores() // jobs,  # of submitit: starts all jobs at once
}
"""Class of a launcher -> threads of one of `jobs` jobs. Jobs of a launcher that is not here run one after another."""


def share_cores(config: DictConfig, jobs: int, overrides: Sequence[str]) -> list[str]:
    """Share the cores of the machine between jobs that run at the same time.

    Args:
        config: composed config of the sweep, with Hydra's section.
        jobs: how many jobs the launcher gets, at least 1.
        overrides: `key=value` parts of one job; a setting among them is left as it is.

    Returns:
        Overrides for each job: its number of threads, and `log.progress=plain`, since progress bars of several jobs
        would overwrite each other. Empty for a launcher that runs one job after another.
    """
    name = str(config.hydra.launcher._target_).rpartition(".")[2]
    if name not in SHARES or "train" not in config or "threads" not in config:
        return []
    share = max(1, SHARES[name](config.hydra.launcher, jobs))
    settings = {"train.threads": str(share), "threads": str(share)}
    if config.log.progress == "auto":
        settings["log.progress"] = "plain"  # bars of several jobs would overwrite each other
    keys_set = {key_of_override(override) for override in overrides}
    return [f"{key}={value}" for key, value in settings.items() if key not in keys_set]
