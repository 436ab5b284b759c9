"""`hydra/sweeper=optuna`: a search with one objective or several, whose study is stored and goes on when resumed.

Over today's Optuna: the sweeper that Hydra's authors published holds Optuna 2.10, whose SQL storage fails with the
SQLAlchemy of today, so no study of it can be stored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from qat import rundir
from qat.cli.extras import needs
from qat.cli.sweeps.grid_sweeper import one_sweep
from qat.cli.sweeps.jobs import Job, Jobs
from qat.cli.sweeps.resume import KEY, key_of
from qat.cli.sweeps.search_space import search_space
from qat.errors import ConfigError

JOURNAL, SOLUTIONS = "study.journal", "optimization_results.json"
_SWEEP_DIR = "sweep_dir"  # attribute of a trial: which sweep ran it
_SECOND_TIME = "second_time"  # attribute: its first try ended with the process


class OptunaSweeper(Sweeper):
    """Asks Optuna for trials, runs each as a job, and tells it the job's values."""

    launcher: Launcher

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        sampler: str,
        seed: int | None,
        storage: str | None,
        study_name: str,
        params: dict[str, Any] | None,
    ) -> None:
        self.n_trials, self.n_jobs, self.sampler, self.seed = n_trials, n_jobs, sampler, seed
        self.storage, self.study_name, self.params = storage, study_name, dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        needs("optuna", "optuna", "hydra/sweeper=optuna")
        given = [f"{key}={value}" for key, value in self.params.items()]
        given += [argument for argument in arguments if key_of(argument) != KEY]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        space, fixed = search_space({each.get_key_element(): each for each in parser.parse_overrides(given)}.values())
        if not space:
            raise ConfigError("hydra/sweeper=optuna: nothing is swept. Give values, as quant.epochs=2,5,10.")
        jobs = Jobs.of(self.config)
        with one_sweep(jobs, self.config):
            study = self._study(jobs.sweep_dir, space)
            self._take_back_unfinished(study, jobs.sweep_dir)
            self._search(study, space, fixed, jobs)
            _write_solutions(study, list(self.config.sweep.objectives), jobs.sweep_dir)
        return study.best_trials

    def _study(self, sweep_dir: Path, space: dict[str, Any]) -> Any:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        from qat.stages.objectives import select_directions

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        wanted = select_directions(list(self.config.sweep.objectives))
        where = self.storage or JournalStorage(JournalFileBackend(str(sweep_dir / JOURNAL)))
        study = optuna.create_study(storage=where, study_name=self.study_name, directions=wanted, load_if_exists=True)
        found = [direction.name.lower() for direction in study.directions]
        if found != wanted:
            raise ConfigError(
                f"sweep.objectives={list(self.config.sweep.objectives)}: the study {self.study_name} goes for "
                f"{', '.join(found)}. Give the objectives that it was begun with, or another hydra.sweeper.study_name."
            )
        study.sampler = self._sampler(len(study.trials), space)
        return study

    def _sampler(self, trials: int, space: dict[str, Any]) -> Any:
        """A resumed study draws on, and not the numbers of its beginning again."""
        from optuna import samplers

        seed = None if self.seed is None else self.seed + trials
        made = {
            "tpe": lambda: samplers.TPESampler(seed=seed, constant_liar=self.n_jobs > 1),
            "nsga2": lambda: samplers.NSGAIISampler(seed=seed),
            "random": lambda: samplers.RandomSampler(seed=seed),
            "brute_force": lambda: samplers.BruteForceSampler(seed=seed),
        }
        if self.sampler not in made:
            raise ConfigError(f"hydra.sweeper.sampler={self.sampler}: expected one of {', '.join(made)}.")
        return made[self.sampler]()

    def _take_back_unfinished(self, study: Any, sweep_dir: Path) -> None:
        """Trials of this sweep that were running when its process ended are tried again, once."""
        from optuna.trial import Trial, TrialState

        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(_SWEEP_DIR) != str(sweep_dir.resolve()):
                continue
            if trial.user_attrs.get(_SECOND_TIME):
                Trial(study, trial._trial_id).set_user_attr("error", "its process ended, twice")
            else:
                study.enqueue_trial(trial.params, user_attrs={_SECOND_TIME: True})
            study.tell(trial.number, state=TrialState.FAIL)
        done = len(_counted(study))
        if done:
            print(f"qat: study {self.study_name}: {done} of {self.n_trials} trials are done", flush=True)

    def _search(self, study: Any, space: dict[str, Any], fixed: Sequence[str], jobs: Jobs) -> None:
        while (missing := self.n_trials - len(_counted(study))) > 0:
            trials = [study.ask(space) for _ in range(min(missing, self.n_jobs))]
            for trial in trials:
                trial.set_user_attr(_SWEEP_DIR, str(jobs.sweep_dir.resolve()))
            trials = [trial for trial in trials if not _known_already(study, trial)]
            overrides = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
            for each in overrides:  # what cannot be composed ends the search, and is no trial
                self.hydra_context.config_loader.load_sweep_config(self.config, each)
            batch = jobs.add(overrides)
            jobs.launch(self.launcher, self.config, batch)
            for trial, job in zip(trials, batch, strict=True):
                _tell(study, trial, job)


def _known_already(study: Any, trial: Any) -> bool:
    """Whether another trial had the same values: its job is not run twice."""
    twins = [other for other in study.trials if other.values and other.params == trial.params]
    if twins:
        trial.set_user_attr("job", twins[0].user_attrs.get("job"))
        study.tell(trial, twins[0].values)
    return bool(twins)


def _tell(study: Any, trial: Any, job: Job) -> None:
    from optuna.trial import TrialState

    trial.set_user_attr("job", job.folder)
    if job.error is not None:
        trial.set_user_attr("error", job.error)
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, job.value)


def _counted(study: Any) -> list[Any]:
    """Trials that had their turn: those with values, and those whose job failed."""
    return [trial for trial in study.trials if trial.values is not None or "error" in trial.user_attrs]


def _write_solutions(study: Any, objectives: Sequence[str], sweep_dir: Path) -> None:
    """The trials that no other beats in every objective: printed, and for programs as JSON."""
    best = sorted(study.best_trials, key=lambda trial: trial.number)
    if not best:
        return
    found = [
        {
            "job": trial.user_attrs.get("job"),
            "params": trial.params,
            "values": dict(zip(objectives, trial.values, strict=True)),
        }
        for trial in best
    ]
    rundir.write_text(sweep_dir / SOLUTIONS, json.dumps({"name": "optuna", "solutions": found}, indent=2) + "\n")
    print(f"\nqat: beaten by no other trial in {' and '.join(objectives)}:", flush=True)
    for each in found:
        values = "  ".join(f"{name} {value:g}" for name, value in each["values"].items())
        params = " ".join(f"{key}={value}" for key, value in each["params"].items())
        print(f"  {each['job']}  {params}  {values}", flush=True)
