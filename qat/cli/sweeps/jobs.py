"""The jobs of a sweep: which are missing, run by any of Hydra's launchers, and how each ended."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from qat import rundir
from qat.cli.launchers.cpu_share import share_cores
from qat.cli.launchers.exit_reason import format_in_one_line
from qat.cli.sweeps.finished_jobs import find_jobs, fingerprint, read_failure
from qat.cli.sweeps.resume import quote
from qat.wrapping import say

BY_NUMBER = "${hydra.job.num}"  # hydra.sweep.subdir, unless the user has another name for the folders

POOLS = ("JoblibLauncher",)  # launchers whose workers all die with one of them, and the jobs in them
MAX_TRIES = 2
_NUMBERS = re.compile(r"[^,\s]+")
_ONLY_NUMBERS = re.compile(r"[-+\d.eE]+(,\s*[-+\d.eE]+)*")
MAX_NAME_LENGTH = 120  # of a job's folder, in characters


def folder_name(overrides: Sequence[str]) -> str:
    """A folder for what a job is asked for: at most 120 characters, those that are cut off as a hash.

    >>> folder_name(["quant.learning_rate=1e-3", "+seed=0", "data.image_size=[96,96]"])
    'quant.learning_rate=1e-3,seed=0,data.image_size=-96,96'
    """
    text = ",".join(override.lstrip("+~") for override in overrides)
    name = re.sub(r"[^\w.,=+-]+", "-", text).strip("-.")
    if len(name) <= MAX_NAME_LENGTH:
        return name
    return f"{name[: MAX_NAME_LENGTH - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _hydra_overrides(overrides: Sequence[str]) -> Iterator[str]:
    """The overrides that all jobs of a sweep have in common, with values as Hydra writes them.

    >>> list(_hydra_overrides(["quant.learning_rate=1e-4", "seed=0,1", "+sweep=search"]))
    ['quant.learning_rate=0.0001', '+sweep=search']
    """
    for each in OverridesParser.create().parse_overrides(list(map(str, overrides))):
        if not each.is_sweep_override() and not each.is_delete():
            yield f"{each.get_key_element()}={each.get_value_element_as_str()}"


def map_to_typed(overrides: Sequence[str]) -> dict[str, str]:
    """Map overrides with numbers as Hydra writes them to the same as they were typed, where the two differ.

    >>> map_to_typed(["quant.learning_rate=1e-3,1e-4", "seed=0,1", "quant=choice(ptq,qat)"])
    {'quant.learning_rate=0.001': 'quant.learning_rate=1e-3', 'quant.learning_rate=0.0001': 'quant.learning_rate=1e-4'}
    """
    typed_forms = {}
    for override in overrides:
        key, _, values = override.partition("=")
        for typed in _NUMBERS.findall(values) if _ONLY_NUMBERS.fullmatch(values) else ():
            parsed = OverridesParser.create().parse_override(f"{key}={typed}")
            typed_forms[f"{parsed.get_key_element()}={parsed.get_value_element_as_str()}"] = f"{key}={typed}"
    return {parsed_form: typed for parsed_form, typed in typed_forms.items() if parsed_form != typed}


@dataclass
class Job:
    """One job of a sweep, and how it ended."""

    overrides: tuple[str, ...]
    folder: str | None = None  # relative to the sweep's directory; None until it ran where only Hydra knows it
    skipped: bool = False  # it was finished by an earlier command
    error: str | None = None
    exit_code: int = 0
    value: Any = None  # what the task returned
    tries: int = 0  # that ended because the launcher failed

    def fail(self, message: str, exit_code: int = 1) -> None:
        """Record that the job failed.

        Args:
            message: one sentence for the user: why it failed.
            exit_code: 1 to 255, what the job alone would have ended with, such as 3 for a diverged training.
        """
        self.error, self.exit_code = message, exit_code


@dataclass
class Jobs:
    """All jobs of a sweep, in the order in which they were added.

    Attributes:
        names_folders: whether folders have the names of `folder_name`; else the user's `hydra.sweep.subdir` names them.
        common_overrides: overrides that every job has; they are not part of a folder's name.
        typed_overrides: `map_to_typed` of the sweep's overrides.
    """

    sweep_dir: Path
    names_folders: bool
    common_overrides: frozenset[str] = frozenset()
    typed_overrides: Mapping[str, str] = field(default_factory=dict)
    all: list[Job] = field(default_factory=list)

    @classmethod
    def from_config(cls, config: DictConfig) -> Jobs:
        subdir = OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]  # type: ignore[index,call-overload]
        overrides = list(map(str, OmegaConf.select(config, "hydra.overrides.task") or ()))
        params = OmegaConf.select(config, "hydra.sweeper.params") or {}
        typed_overrides = map_to_typed([*(f"{key}={value}" for key, value in params.items()), *overrides])
        return cls(
            Path(config.hydra.sweep.dir), subdir == BY_NUMBER, frozenset(_hydra_overrides(overrides)), typed_overrides
        )

    def add(self, batch: Sequence[Sequence[str]]) -> list[Job]:
        """Add jobs, each in a folder of its own."""
        jobs = []
        for overrides in batch:
            jobs.append(Job(tuple(overrides), self._free_folder(overrides) if self.names_folders else None))
            self.all.append(jobs[-1])
        return jobs

    def add_missing(self, batch: Sequence[Sequence[str]], configs: Sequence[DictConfig]) -> list[Job]:
        """Add jobs; those finished in the sweep's directory are skipped, the unfinished ones keep their folders.

        Args:
            batch: `key=value` parts of each job, one sequence per job.
            configs: composed config of each job, in the same order.

        Returns:
            The jobs that are still to run.
        """
        known_jobs, unknown_folders = find_jobs(self.sweep_dir)
        for name in unknown_folders:
            say(f"qat: no readable .hydra/config.yaml, so nobody knows which job it is:\n  {self.sweep_dir / name}")
        missing = []
        for overrides, config in zip(batch, configs, strict=True):
            job, known = Job(tuple(overrides)), known_jobs.get(fingerprint(config))
            if known is not None and known.finished:
                job.folder, job.skipped = known.folder, True
                job.error, job.exit_code = read_failure(self.sweep_dir / known.folder) or (None, 0)
            else:
                if self.names_folders:
                    job.folder = known.folder if known is not None else self._free_folder(overrides)
                missing.append(job)
            self.all.append(job)
        self._print_skipped()
        return missing

    def launch(self, launcher: Launcher, config: DictConfig, jobs: Sequence[Job]) -> None:
        """Run jobs and record how each ended, even if one of them or the launcher fails.

        Jobs of a process pool that broke are started again, at most `MAX_TRIES` times in all. Jobs of this very process
        are launched one by one: what Hydra returns of a job keeps its whole config.

        Args:
            launcher: any launcher of Hydra's, set up.
            config: composed config of the sweep, with Hydra's section.
            jobs: the jobs to run, of `self.all`; how each ended is written into it.
        """
        alone = isinstance(launcher, BasicLauncher)
        waiting = [[job] for job in jobs] if alone else [list(jobs)] if jobs else []
        while waiting:
            batch = waiting.pop(0)
            error = self._launch(launcher, config, batch)
            if error is not None:
                retries = self._record_engine_failure(batch, error, type(launcher).__name__ in POOLS)
                waiting += [[job] for job in retries if job.tries]  # alone, each can only end itself
                waiting += [fresh for fresh in [[job for job in retries if not job.tries]] if fresh]

    def _launch(self, launcher: Launcher, config: DictConfig, jobs: Sequence[Job]) -> Exception | None:
        shared_overrides = share_cores(config, len(jobs), jobs[0].overrides)
        arguments = [[*job.overrides, *shared_overrides, *self._folder_override(job)] for job in jobs]
        try:
            returns = launcher.launch(arguments, initial_job_idx=self.all.index(jobs[0]))
        except Exception as error:  # of the engine, whichever it is; a job's own error comes back in its return
            return error
        for job, result in zip(jobs, returns, strict=True):
            self._record_end(job, result)
        return None

    def failed(self) -> list[Job]:
        return [job for job in self.all if job.error is not None]

    def describe(self, job: Job) -> str:
        """The job's folder, and its own overrides where the folder's name does not contain them."""
        return f"{job.folder or '-'}  {self.own_overrides(job) if self.overrides_outside_name(job) else ''}".rstrip()

    def overrides_outside_name(self, job: Job) -> tuple[str, ...]:
        """The job's own overrides; empty where the folder's name consists of them."""
        own = tuple(override for override in job.overrides if override not in self.common_overrides)
        return () if job.folder in (self._folder_name(own), folder_name(own)) else own

    def own_overrides(self, job: Job) -> str:
        """The overrides that not every job has, in one line."""
        shared = set.intersection(*(set(each.overrides) for each in self.all)) if len(self.all) > 1 else set()
        return " ".join(override for override in job.overrides if override not in shared)

    def _folder_override(self, job: Job) -> list[str]:
        return [f"hydra.sweep.subdir={quote(job.folder)}"] if self.names_folders and job.folder is not None else []

    def _free_folder(self, overrides: Sequence[str]) -> str:
        """A new folder's name: the job's own overrides; a number where it has none, or the name is in use."""
        used = {path.name for path in self.sweep_dir.glob("*")} | {job.folder for job in self.all}
        name = self._folder_name([override for override in overrides if override not in self.common_overrides])
        candidates = (f"{name},{number}" if name else str(number) for number in range(len(used) + 1))
        return name if name and name not in used else next(each for each in candidates if each not in used)

    def _folder_name(self, overrides: Sequence[str]) -> str:
        return folder_name([self.typed_overrides.get(override, override) for override in overrides])

    def _record_end(self, job: Job, result: JobReturn) -> None:
        if result.hydra_cfg is not None:
            job.folder = (
                Path(result.hydra_cfg.hydra.runtime.output_dir).relative_to(self.sweep_dir.resolve()).as_posix()
            )
        if result.status == JobStatus.COMPLETED:
            job.value = result._return_value
        else:
            error = result._return_value
            job.fail(str(error), getattr(error, "exit_code", 1))

    def _record_engine_failure(self, jobs: Sequence[Job], error: Exception, is_pool: bool) -> list[Job]:
        """Record how jobs ended when their launcher failed, from the files in their folders; return those to retry."""
        started = [job for job in jobs if job.folder is not None and (self.sweep_dir / job.folder).is_dir()]
        for job in started:
            job.tries += 1
        retries = []
        for job in jobs:
            folder = self.sweep_dir / job.folder if job.folder is not None else None
            failure = read_failure(folder) if folder is not None else None
            if failure is not None:
                job.fail(*failure)
            elif folder is None or not (folder / rundir.RESULTS).is_file():
                job.fail(f"it left no {rundir.RESULTS}; the launcher ended with {format_in_one_line(error)}")
                if is_pool and started and job.folder is not None and job.tries < MAX_TRIES:
                    retries.append(job)
        if retries:
            say(f"qat: a worker died ({type(error).__name__}); {len(retries)} jobs are started again", sys.stderr)
        for job in retries:
            job.error, job.exit_code = None, 0
        return retries

    def _print_skipped(self) -> None:
        skipped = [job for job in self.all if job.skipped]
        say(f"qat: {len(skipped)} of {len(self.all)} jobs are finished and skipped of\n  {self.sweep_dir}")
        for job in skipped:
            print(f"  {self.describe(job)}", flush=True)
