"""The jobs of a sweep: which are missing, run by any of Hydra's launchers, and how each ended."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from qat import rundir
from qat.cli.launchers.cpu_share import shared_out
from qat.cli.launchers.exit_reason import in_a_line
from qat.cli.sweeps.finished_jobs import fingerprint, found_jobs, why_failed
from qat.cli.sweeps.resume import quoted

BY_NUMBER = "${hydra.job.num}"  # hydra.sweep.subdir, unless the user has another name for the folders

POOLS = ("JoblibLauncher",)  # launchers whose workers all die with one of them, and the jobs in them
MOST_TRIES = 2
_NUMBERS = re.compile(r"[^,\s]+")
_ONLY_NUMBERS = re.compile(r"[-+\d.eE]+(,\s*[-+\d.eE]+)*")
LONGEST_NAME = 120  # of a job's folder, in characters


def folder_name(overrides: Sequence[str]) -> str:
    """A folder for what a job is asked for: at most 120 characters, those that are cut off as a hash.

    >>> folder_name(["quant.learning_rate=1e-3", "+seed=0", "data.image_size=[96,96]"])
    'quant.learning_rate=1e-3,seed=0,data.image_size=-96,96'
    """
    text = ",".join(override.lstrip("+~") for override in overrides)
    name = re.sub(r"[^\w.,=+-]+", "-", text).strip("-.")
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _as_jobs_have_it(overrides: Sequence[str]) -> Iterator[str]:
    """What each job of a sweep has of the command line: values as Hydra writes them.

    >>> list(_as_jobs_have_it(["quant.learning_rate=1e-4", "seed=0,1", "+sweep=search"]))
    ['quant.learning_rate=0.0001', '+sweep=search']
    """
    for each in OverridesParser.create().parse_overrides(list(map(str, overrides))):
        if not each.is_sweep_override() and not each.is_delete():
            yield f"{each.get_key_element()}={each.get_value_element_as_str()}"


def as_typed(overrides: Sequence[str]) -> dict[str, str]:
    """What a job has, as Hydra writes it, to what was typed, where the two differ: numbers, as people write them.

    >>> as_typed(["quant.learning_rate=1e-3,1e-4", "seed=0,1", "quant=choice(ptq,qat)"])
    {'quant.learning_rate=0.001': 'quant.learning_rate=1e-3', 'quant.learning_rate=0.0001': 'quant.learning_rate=1e-4'}
    """
    found = {}
    for override in overrides:
        key, _, values = override.partition("=")
        for typed in _NUMBERS.findall(values) if _ONLY_NUMBERS.fullmatch(values) else ():
            parsed = OverridesParser.create().parse_override(f"{key}={typed}")
            found[f"{parsed.get_key_element()}={parsed.get_value_element_as_str()}"] = f"{key}={typed}"
    return {had: typed for had, typed in found.items() if had != typed}


@dataclass
class Job:
    """One job, before and after it ran."""

    overrides: tuple[str, ...]
    folder: str | None = None  # inside the sweep's directory; None where only Hydra knows it, until it ran
    skipped: bool = False  # it was finished before
    error: str | None = None
    exit_code: int = 0
    value: Any = None  # what the task returned
    tries: int = 0  # that ended with the engine

    def fail(self, message: str, exit_code: int = 1) -> None:
        self.error, self.exit_code = message, exit_code


@dataclass
class Jobs:
    """All jobs of a sweep, in the order in which they came.

    Attributes:
        named_here: whether folders have the names of `folder_name`; else the user's `hydra.sweep.subdir` says them.
        of_all: overrides that every job has: they stand in no folder's name.
        typed: `as_typed` of the sweep's overrides.
    """

    sweep_dir: Path
    named_here: bool
    of_all: frozenset[str] = frozenset()
    typed: Mapping[str, str] = field(default_factory=dict)
    all: list[Job] = field(default_factory=list)

    @classmethod
    def of(cls, config: DictConfig) -> Jobs:
        subdir = OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"]  # type: ignore[index,call-overload]
        given = list(map(str, OmegaConf.select(config, "hydra.overrides.task") or ()))
        in_file = OmegaConf.select(config, "hydra.sweeper.params") or {}
        typed = as_typed([*(f"{key}={value}" for key, value in in_file.items()), *given])
        return cls(Path(config.hydra.sweep.dir), subdir == BY_NUMBER, frozenset(_as_jobs_have_it(given)), typed)

    def add(self, batch: Sequence[Sequence[str]]) -> list[Job]:
        """Jobs in folders of their own."""
        jobs = []
        for overrides in batch:
            jobs.append(Job(tuple(overrides), self._free_folder(overrides) if self.named_here else None))
            self.all.append(jobs[-1])
        return jobs

    def add_missing(self, batch: Sequence[Sequence[str]], configs: Sequence[DictConfig]) -> list[Job]:
        """As `add`, but what the directory holds finished is skipped, and what it holds unfinished is done again."""
        known, unknown = found_jobs(self.sweep_dir)
        for name in unknown:
            print(f"qat: {self.sweep_dir / name}: no readable .hydra/config.yaml, so nobody knows which job it is")
        missing = []
        for overrides, config in zip(batch, configs, strict=True):
            job, found = Job(tuple(overrides)), known.get(fingerprint(config))
            if found is not None and found.finished:
                job.folder, job.skipped = found.folder, True
                job.error, job.exit_code = why_failed(self.sweep_dir / found.folder) or (None, 0)
            else:
                if self.named_here:
                    job.folder = found.folder if found is not None else self._free_folder(overrides)
                missing.append(job)
            self.all.append(job)
        self._say_skipped()
        return missing

    def launch(self, launcher: Launcher, config: DictConfig, jobs: Sequence[Job]) -> None:
        """Run `jobs`. Afterwards each knows its end, whatever one of them, or the engine, did."""
        waiting = [list(jobs)] if jobs else []
        while waiting:
            batch = waiting.pop(0)
            error = self._launch(launcher, config, batch)
            if error is not None:
                again = self._after_engine(batch, error, type(launcher).__name__ in POOLS)
                waiting += [[job] for job in again if job.tries]  # alone, each can only end itself
                waiting += [fresh for fresh in [[job for job in again if not job.tries]] if fresh]

    def _launch(self, launcher: Launcher, config: DictConfig, jobs: Sequence[Job]) -> Exception | None:
        together = shared_out(config, len(jobs), jobs[0].overrides)
        arguments = [[*job.overrides, *together, *self._place(job)] for job in jobs]
        try:
            returns = launcher.launch(arguments, initial_job_idx=self.all.index(jobs[0]))
        except Exception as error:  # of the engine, whichever it is; a job's own error comes back in its return
            return error
        for job, ended in zip(jobs, returns, strict=True):
            self._ended(job, ended)
        return None

    def failed(self) -> list[Job]:
        return [job for job in self.all if job.error is not None]

    def told(self, job: Job) -> str:
        """The job's folder, and what it alone is asked for where the folder's name does not say it."""
        return f"{job.folder or '-'}  {self.own_overrides(job) if self.untold(job) else ''}".rstrip()

    def untold(self, job: Job) -> tuple[str, ...]:
        """What the job alone is asked for, where the folder's name does not say it."""
        own = tuple(override for override in job.overrides if override not in self.of_all)
        return () if job.folder in (self._name(own), folder_name(own)) else own

    def own_overrides(self, job: Job) -> str:
        """Those that not every job has."""
        shared = set.intersection(*(set(each.overrides) for each in self.all)) if len(self.all) > 1 else set()
        return " ".join(override for override in job.overrides if override not in shared)

    def _place(self, job: Job) -> list[str]:
        return [f"hydra.sweep.subdir={quoted(job.folder)}"] if self.named_here and job.folder is not None else []

    def _free_folder(self, overrides: Sequence[str]) -> str:
        """Named by what this job alone is asked for; by its number where that is nothing, or taken."""
        taken = {path.name for path in self.sweep_dir.glob("*")} | {job.folder for job in self.all}
        name = self._name([override for override in overrides if override not in self.of_all])
        free = (f"{name},{number}" if name else str(number) for number in range(len(taken) + 1))
        return name if name and name not in taken else next(each for each in free if each not in taken)

    def _name(self, overrides: Sequence[str]) -> str:
        return folder_name([self.typed.get(override, override) for override in overrides])

    def _ended(self, job: Job, ended: JobReturn) -> None:
        if ended.hydra_cfg is not None:
            job.folder = Path(ended.hydra_cfg.hydra.runtime.output_dir).relative_to(self.sweep_dir.resolve()).as_posix()
        if ended.status == JobStatus.COMPLETED:
            job.value = ended._return_value
        else:
            error = ended._return_value
            job.fail(str(error), getattr(error, "exit_code", 1))

    def _after_engine(self, jobs: Sequence[Job], error: Exception, is_pool: bool) -> list[Job]:
        """The launcher broke: what lies in a job's folder tells whether it had ended before; which to start again."""
        begun = [job for job in jobs if job.folder is not None and (self.sweep_dir / job.folder).is_dir()]
        for job in begun:
            job.tries += 1
        again = []
        for job in jobs:
            folder = self.sweep_dir / job.folder if job.folder is not None else None
            left = why_failed(folder) if folder is not None else None
            if left is not None:
                job.fail(*left)
            elif folder is None or not (folder / rundir.RESULTS).is_file():
                job.fail(f"it left no {rundir.RESULTS}; the launcher ended with {in_a_line(error)}")
                if is_pool and begun and job.folder is not None and job.tries < MOST_TRIES:
                    again.append(job)
        if again:
            print(f"qat: a worker died ({type(error).__name__}); {len(again)} jobs are started again", file=sys.stderr)
        for job in again:
            job.error, job.exit_code = None, 0
        return again

    def _say_skipped(self) -> None:
        skipped = [job for job in self.all if job.skipped]
        print(f"qat: {self.sweep_dir}: {len(skipped)} of {len(self.all)} jobs are finished and skipped", flush=True)
        for job in skipped:
            print(f"  {self.told(job)}", flush=True)
