"""`hydra/launcher=ray`: each job a task on a Ray cluster, or on one that is started here for the sweep.

Of our own, because the launcher that Hydra's authors published wants a cloudpickle older than joblib's, and boto3.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from qat.cli.extras import needs
from qat.cli.launchers.exit_reason import without_return

log = logging.getLogger(__name__)


class RayLauncher(Launcher):
    """Jobs wait for `cpus_per_job` free cores and `gpus_per_job` free accelerators of the cluster."""

    def __init__(
        self,
        address: str | None,
        cpus_per_job: int,
        gpus_per_job: float,
        memory_gb_per_job: float | None,
        cores: int | None,
        init: Any,
    ) -> None:
        self.address, self.cores = address, cores
        self.wants = {"num_cpus": cpus_per_job, "num_gpus": gpus_per_job}
        if memory_gb_per_job is not None:
            self.wants["memory"] = int(memory_gb_per_job * 2**30)
        self.init = OmegaConf.to_container(init) if OmegaConf.is_config(init) else dict(init or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        needs("ray", "ray", "hydra/launcher=ray")
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        import ray

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        started_here = not ray.is_initialized()
        if started_here:
            ray.init(**self._beginning())
        try:
            # A task that dies is not tried again in silence: most that die do so for want of memory.
            task = ray.remote(max_retries=0, **self.wants)(_one_job)
            references = [
                task.remote(self.hydra_context, self._config_of(each, number), self.task_function, _surroundings())
                for number, each in enumerate(job_overrides, start=initial_job_idx)
            ]
            return [_ended(reference) for reference in references]
        finally:
            if started_here:
                ray.shutdown()

    def _beginning(self) -> dict[str, Any]:
        """Arguments of ray.init. What a cluster has can only be said of one that is started here."""
        here = {"include_dashboard": False} | ({"num_cpus": self.cores} if self.cores else {})
        return {"address": self.address, "log_to_driver": True} | ({} if self.address else here) | self.init

    def _config_of(self, overrides: Sequence[str], number: int) -> DictConfig:
        log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.num, config.hydra.job.id = number, f"{number}"
        return config


def _surroundings() -> tuple[str, Any]:
    return str(Path.cwd()), Singleton.get_state()


def _one_job(context: HydraContext, config: DictConfig, task: TaskFunction, surroundings: tuple[str, Any]) -> JobReturn:
    """In a process of Ray's, perhaps on another machine; folders are named from where the sweep was started."""
    folder, state = surroundings
    os.chdir(folder)
    setup_globals()
    Singleton.set_state(state)
    return run_job(
        hydra_context=context,
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _ended(reference: Any) -> JobReturn:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:  # the process died, or its machine
        return without_return(error)
