"""`hydra/launcher=ray`: each job a task on a Ray cluster, or on one that is started here for the sweep.

Of our own, because the launcher that Hydra's authors published wants a cloudpickle older than joblib's, and boto3.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from qat.cli.extras import require_extra
from qat.cli.launchers.exit_reason import make_failed_return

if TYPE_CHECKING:
    import ray

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
        init: Mapping[str, Any] | None,
    ) -> None:
        self.address, self.cores = address, cores
        self.resources = {"num_cpus": cpus_per_job, "num_gpus": gpus_per_job}
        if memory_gb_per_job is not None:
            self.resources["memory"] = int(memory_gb_per_job * 2**30)
        self.init = OmegaConf.to_container(init) if OmegaConf.is_config(init) else dict(init or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives to every launcher.

        Args:
            hydra_context: Hydra's loader of configs and its callbacks.
            task_function: the job: a function that takes the composed config.
            config: composed config of the sweep, with Hydra's section.

        Raises:
            ConfigError: Ray is not installed.
        """
        require_extra("ray", "ray", "hydra/launcher=ray")
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs and wait for them.

        Args:
            job_overrides: `key=value` parts of each job, one sequence per job.
            initial_job_idx: number of the first of these jobs within the sweep, from 0.

        Returns:
            One result per job, in their order; a failed one for a job whose process or machine died.
        """
        import ray

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        started_here = not ray.is_initialized()
        if started_here:
            ray.init(**self._init_arguments())
        try:
            # A task that dies is not silently tried again: most that die ran out of memory.
            task = ray.remote(max_retries=0, **self.resources)(_run_job)
            references = [
                task.remote(self.hydra_context, self._compose_job(each, number), self.task_function, _process_state())
                for number, each in enumerate(job_overrides, start=initial_job_idx)
            ]
            return [_wait_for_result(reference) for reference in references]
        finally:
            if started_here:
                ray.shutdown()

    def _init_arguments(self) -> dict[str, Any]:
        """Arguments of ray.init. Only a cluster that is started here takes a number of cores."""
        here = {"include_dashboard": False} | ({"num_cpus": self.cores} if self.cores else {})
        return {"address": self.address, "log_to_driver": True} | ({} if self.address else here) | self.init

    def _compose_job(self, overrides: Sequence[str], number: int) -> DictConfig:
        log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.num, config.hydra.job.id = number, f"{number}"
        return config


def _process_state() -> tuple[str, Any]:
    return str(Path.cwd()), Singleton.get_state()


def _run_job(
    context: HydraContext, config: DictConfig, task: TaskFunction, process_state: tuple[str, Any]
) -> JobReturn:
    """Run one job in a process of Ray, perhaps on another machine, in the working folder of the sweep's process."""
    folder, state = process_state
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


def _wait_for_result(reference: ray.ObjectRef) -> JobReturn:
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:  # the process died, or its machine
        return make_failed_return(error)
