"""Hydra's sweeps: every job is run even if another failed, and a table at the end shows their results."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf

from qat import rundir
from qat.cli.sweeps.jobs import Jobs
from qat.cli.sweeps.resume import KEY, RECORD, key_of_override, select_untrusted_overrides
from qat.commands import command
from qat.errors import SweepError

_VERBOSE_LAUNCHERS = ("hydra._internal.core_plugins.basic_launcher", "hydra_plugins.hydra_joblib_launcher._core")
COMPARISON = "compare"  # folder of the page, inside the sweep's


class GridSweeper(BasicSweeper):
    """Every combination, as Hydra's own `basic` sweeper; jobs that are finished in a resumed directory are skipped."""

    def sweep(self, arguments: list[str]) -> list[Any]:
        job_arguments = [argument for argument in arguments if key_of_override(argument) != KEY]
        batches = self.split_arguments(self._parse([*self._parse_config(), *job_arguments]), self.max_batch_size)
        jobs = Jobs.from_config(self.config)
        with claim_sweep(jobs, self.config):
            for batch in batches:
                configs = self._compose_jobs(batch)
                resuming = OmegaConf.select(self.config, KEY)  # other commands than train have no such key
                to_run = jobs.add_missing(batch, configs) if resuming else jobs.add(batch)
                jobs.launch(self.launcher, self.config, to_run)
        return [job.value for job in jobs.all]

    def _parse(self, overrides: list[str]) -> list[Any]:
        return OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(overrides)

    def _compose_jobs(self, batch: Sequence[Sequence[str]]) -> list[DictConfig]:
        """Compose the config of each job, so that a faulty one ends the sweep before its first job."""
        return [self.hydra_context.config_loader.load_sweep_config(self.config, list(each)) for each in batch]


@contextmanager
def claim_sweep(jobs: Jobs, config: DictConfig) -> Iterator[None]:
    """Lock the sweep's directory, run the block, then show the results of its jobs.

    Args:
        jobs: the sweep's jobs and its directory; the block adds and launches them.
        config: composed config of the sweep, with Hydra's section; saved in the directory for `sweep.resume`.

    Returns:
        A context manager, within which the directory is locked.

    Raises:
        SweepError: some jobs failed; its exit code is theirs where they agree, else 1.
        RunDirError: another process runs a sweep in the directory.
    """
    setup_globals()
    for launcher in _VERBOSE_LAUNCHERS:
        # these print all overrides of each job; a job prints its folder itself
        logging.getLogger(launcher).setLevel(logging.WARNING)
    jobs.sweep_dir.mkdir(parents=True, exist_ok=True)
    with rundir.lock(jobs.sweep_dir / ".sweep.lock", wait=False):
        OmegaConf.save(config, jobs.sweep_dir / RECORD)
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            if "sweep" in config:
                resume = resume_command(jobs.sweep_dir, config)
                print(f"qat: to run what is missing:\n  {resume}", file=sys.stderr, flush=True)
            raise
        _show_results(jobs)
        _raise_failures(jobs, config)


def resume_command(sweep_dir: Path, config: DictConfig) -> str:
    """The command that goes on with a sweep.

    Args:
        sweep_dir: directory of the sweep.
        config: composed config of the sweep, with Hydra's section.

    Returns:
        One line for a shell; it repeats overrides that are not taken from a folder without being repeated.
    """
    overrides = [
        str(part) for kind in ("hydra", "task") for part in OmegaConf.select(config, f"hydra.overrides.{kind}") or ()
    ]
    return command(config.hydra.job.name, f"sweep.resume={sweep_dir}", *select_untrusted_overrides(overrides))


def _show_results(jobs: Jobs) -> None:
    """Print the leaderboard and write the comparison page, if at least one job left a result."""
    folders = {job.folder: jobs.overrides_outside_name(job) for job in jobs.all if job.folder is not None}
    if not any((jobs.sweep_dir / folder / rundir.RESULTS).is_file() for folder in folders):
        return
    from qat.reporting import tensorboard_command, tensorboard_url
    from qat.reporting.terminal import relative_to_cwd
    from qat.stages.compare import write_comparison
    from qat.stages.leaderboard import show_leaderboard

    show_leaderboard(jobs.sweep_dir, folders)
    page = jobs.sweep_dir / COMPARISON
    write_comparison([jobs.sweep_dir / folder for folder in folders], page)
    print(f"page:\n  {relative_to_cwd(page / 'index.html')}", flush=True)
    if any((jobs.sweep_dir / folder / rundir.TENSORBOARD).is_dir() for folder in folders):
        print(
            f"curves of all jobs:\n  {tensorboard_command(jobs.sweep_dir)}\nthen open\n  {tensorboard_url()}",
            flush=True,
        )


def _raise_failures(jobs: Jobs, config: DictConfig) -> None:
    failed = jobs.failed()
    if not failed:
        return
    lines = [f"{len(failed)} of {len(jobs.all)} jobs failed:"]
    lines += [f"  {jobs.describe(job)}\n      {job.error}" for job in failed]
    if "sweep" in config:
        lines.append(f"To run again what did not finish:\n  {resume_command(jobs.sweep_dir, config)}")
    codes = {job.exit_code for job in failed}
    raise SweepError("\n".join(lines), codes.pop() if len(codes) == 1 else 1)
