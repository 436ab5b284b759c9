"""Hydra's sweeps, with an end: every job is run whatever another did, and a table says what came of them."""

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
from qat.cli.sweeps.resume import KEY, RECORD, key_of, said_again
from qat.commands import command
from qat.errors import SweepError

_LOUD = ("hydra._internal.core_plugins.basic_launcher", "hydra_plugins.hydra_joblib_launcher._core")
COMPARISON = "compare"  # folder of the page, inside the sweep's


class GridSweeper(BasicSweeper):
    """Every combination, as Hydra's own `basic` sweeper; jobs that a resumed directory holds finished are left out."""

    def sweep(self, arguments: list[str]) -> list[Any]:
        of_jobs = [argument for argument in arguments if key_of(argument) != KEY]
        batches = self.split_arguments(self._parsed([*self._parse_config(), *of_jobs]), self.max_batch_size)
        jobs = Jobs.of(self.config)
        with one_sweep(jobs, self.config):
            for batch in batches:
                configs = self._composed(batch)
                chosen = jobs.add_missing(batch, configs) if self._resuming() else jobs.add(batch)
                jobs.launch(self.launcher, self.config, chosen)
        return [job.value for job in jobs.all]

    def _resuming(self) -> bool:
        return bool(OmegaConf.select(self.config, KEY))  # a door without such a key has sweeps as well

    def _parsed(self, overrides: list[str]) -> list[Any]:
        return OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(overrides)

    def _composed(self, batch: Sequence[Sequence[str]]) -> list[DictConfig]:
        """The config of each job: what cannot be composed ends the sweep before its first job."""
        return [self.hydra_context.config_loader.load_sweep_config(self.config, list(each)) for each in batch]


@contextmanager
def one_sweep(jobs: Jobs, config: DictConfig) -> Iterator[None]:
    """Claim the sweep's directory, and say at its end what came of the jobs.

    Raises:
        SweepError: some failed.
    """
    setup_globals()
    for launcher in _LOUD:
        logging.getLogger(launcher).setLevel(
            logging.WARNING
        )  # all overrides of each job in a line; a job says its folder
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
        _show(jobs)
        _report(jobs, config)


def resume_command(sweep_dir: Path, config: DictConfig) -> str:
    given = [
        str(part) for kind in ("hydra", "task") for part in OmegaConf.select(config, f"hydra.overrides.{kind}") or ()
    ]
    return command(config.hydra.job.name, f"sweep.resume={sweep_dir}", *said_again(given))


def _show(jobs: Jobs) -> None:
    """The leaderboard, and the comparison in a folder of its own, where a job left a result."""
    folders = {job.folder: jobs.untold(job) for job in jobs.all if job.folder is not None}
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


def _report(jobs: Jobs, config: DictConfig) -> None:
    failed = jobs.failed()
    if not failed:
        return
    lines = [f"{len(failed)} of {len(jobs.all)} jobs failed:"]
    lines += [f"  {jobs.told(job)}\n      {job.error}" for job in failed]
    if "sweep" in config:
        lines.append(f"To run again what did not finish:\n  {resume_command(jobs.sweep_dir, config)}")
    codes = {job.exit_code for job in failed}
    raise SweepError("\n".join(lines), codes.pop() if len(codes) == 1 else 1)
