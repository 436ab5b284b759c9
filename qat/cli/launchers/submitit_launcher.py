"""`hydra/launcher=submitit_slurm` and `submitit_local` of Hydra's authors, but a job that dies does not end the others.

Theirs raises for the first job that Slurm lost (out of memory, out of time) and forgets those that are still queued.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, filter_overrides
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher
from omegaconf import OmegaConf

from qat.cli.launchers.exit_reason import make_failed_return

if TYPE_CHECKING:
    import submitit

log = logging.getLogger(__name__)

SECONDS_FOR_A_FILE = 20  # until a file that another machine wrote is seen here
_EXECUTOR_SETTINGS = ("submitit_folder", "max_num_timeout")


class ArrayLauncher(BaseSubmititLauncher):
    """Submits all jobs as one array and waits for each."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit all jobs as one array and wait for them.

        Args:
            job_overrides: `key=value` parts of each job, one sequence per job.
            initial_job_idx: number of the first of these jobs within the sweep, from 0.

        Returns:
            One result per job, in their order; a failed one for a job that was lost.
        """
        logging.getLogger("submitit").setLevel(logging.ERROR)  # warns at every look where Slurm has no accounting
        sweep_dir = Path(str(self.config.hydra.sweep.dir))
        sweep_dir.mkdir(parents=True, exist_ok=True)
        state = Singleton.get_state()
        calls = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            log.info(f"\t#{number} : {' '.join(filter_overrides(overrides))}")
            calls.append((list(overrides), "hydra.sweep.dir", number, str(number), state))
        jobs = self._executor().map_array(self, *zip(*calls, strict=True))
        log.info(f"Submitted as {', '.join(str(job.job_id) for job in jobs)}; logs are in {sweep_dir / '.submitit'}")
        return [_wait_for_result(job, self._EXECUTOR == "slurm") for job in jobs]

    def _executor(self) -> submitit.AutoExecutor:
        import submitit

        folder = self.params["submitit_folder"]
        executor_settings = {
            f"{self._EXECUTOR}_max_num_timeout": self.params[key] for key in self.params if key == "max_num_timeout"
        }
        executor = submitit.AutoExecutor(folder=folder, cluster=self._EXECUTOR, **executor_settings)
        shared = OmegaConf.structured(BaseQueueConf).keys()
        job_settings = {key: value for key, value in self.params.items() if key not in _EXECUTOR_SETTINGS}
        executor.update_parameters(
            **{key if key in shared else f"{self._EXECUTOR}_{key}": value for key, value in job_settings.items()}
        )
        return executor


class LocalLauncher(ArrayLauncher):
    """`hydra/launcher=submitit_local`"""

    _EXECUTOR = "local"


class SlurmLauncher(ArrayLauncher):
    """`hydra/launcher=submitit_slurm`"""

    _EXECUTOR = "slurm"


LAUNCHERS = {"submitit_local": LocalLauncher, "submitit_slurm": SlurmLauncher}


def _wait_for_result(job: submitit.Job, in_queue: bool) -> JobReturn:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        if in_queue:
            _wait(job)
        return job.results()[0]
    except (FailedJobError, UncompletedJobError, LostJobError) as error:
        return make_failed_return(error)


class LostJobError(Exception):
    """Slurm no longer knows a job, and the job left no result."""


def _wait(job: submitit.Job) -> None:
    """Wait until there is a result, or none can come: a Slurm without accounting does not report that a job died."""
    gone_since: float | None = None
    while not job.paths.result_pickle.exists() and not job.done():
        if job.watcher.get_state(job.job_id, mode="standard") == "UNKNOWN" and _left_the_queue(job):
            gone_since = gone_since or time.monotonic()
            if time.monotonic() - gone_since > SECONDS_FOR_A_FILE:
                raise LostJobError(f"Slurm job {job.job_id} is gone and left no result; its log is {job.paths.stderr}")
        time.sleep(1)


def _left_the_queue(job: submitit.Job) -> bool:
    if shutil.which("squeue") is None:
        return False
    answer = subprocess.run(["squeue", "-h", "-j", job.job_id], capture_output=True, text=True)
    return not answer.stdout.strip() and (answer.returncode == 0 or "Invalid job id" in answer.stderr)
