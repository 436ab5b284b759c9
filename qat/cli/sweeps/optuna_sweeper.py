"""`hydra/sweeper=optuna`: a search with one objective or several, whose study is stored and goes on when resumed.

It uses a current Optuna: the sweeper that Hydra's authors published needs Optuna 2.10, whose SQL storage fails with the
current SQLAlchemy, so that none of its studies can be stored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from qat import rundir
from qat.cli.extras import require_extra
from qat.cli.sweeps.grid_sweeper import claim_sweep
from qat.cli.sweeps.jobs import Job, Jobs
from qat.cli.sweeps.resume import KEY, key_of_override
from qat.cli.sweeps.search_space import make_search_space
from qat.errors import ConfigError
from qat.wrapping import columns_of, say

if TYPE_CHECKING:
    import optuna

JOURNAL, SOLUTIONS = "study.journal", "optimization_results.json"
_SWEEP_DIR = "sweep_dir"  # attribute of a trial: the directory of the sweep that ran it
_IS_RETRY = "second_time"  # attribute: the process ended during its first try


class OptunaSweeper(Sweeper):
    """Asks Optuna for trials, runs each as a job, and reports the job's values to it."""

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
        """Take what Hydra gives to every sweeper, and make the launcher.

        Args:
            hydra_context: Hydra's loader of configs and its callbacks.
            task_function: the job; it takes the composed config and returns the values of the objectives.
            config: composed config of the sweep, with Hydra's section.
        """
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        require_extra("optuna", "optuna", "hydra/sweeper=optuna")
        overrides = [f"{key}={value}" for key, value in self.params.items()]
        overrides += [argument for argument in arguments if key_of_override(argument) != KEY]
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        space, fixed = make_search_space(
            {each.get_key_element(): each for each in parser.parse_overrides(overrides)}.values()
        )
        if not space:
            raise ConfigError("hydra/sweeper=optuna: nothing is swept. Give values, as quant.epochs=2,5,10.")
        jobs = Jobs.from_config(self.config)
        with claim_sweep(jobs, self.config):
            study = self._study(jobs.sweep_dir, space)
            self._retry_unfinished(study, jobs.sweep_dir)
            self._search(study, space, fixed, jobs)
            _write_solutions(study, list(self.config.sweep.objectives), jobs.sweep_dir)
        return study.best_trials

    def _study(self, sweep_dir: Path, space: dict[str, Any]) -> Any:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        from qat.stages.objectives import select_directions

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        expected = select_directions(list(self.config.sweep.objectives))
        storage = self.storage or JournalStorage(JournalFileBackend(str(sweep_dir / JOURNAL)))
        study = optuna.create_study(
            storage=storage, study_name=self.study_name, directions=expected, load_if_exists=True
        )
        actual = [direction.name.lower() for direction in study.directions]
        if actual != expected:
            raise ConfigError(
                f"sweep.objectives={list(self.config.sweep.objectives)}: the study {self.study_name} goes for "
                f"{', '.join(actual)}. Give the objectives that it was begun with, or another hydra.sweeper.study_name."
            )
        study.sampler = self._sampler(len(study.trials), space)
        return study

    def _sampler(self, trials: int, space: dict[str, Any]) -> Any:
        """The sampler; a resumed study has another seed, so that it does not draw its first trials again."""
        from optuna import samplers

        seed = None if self.seed is None else self.seed + trials
        samplers_by_name = {
            "tpe": lambda: samplers.TPESampler(seed=seed, constant_liar=self.n_jobs > 1),
            "nsga2": lambda: samplers.NSGAIISampler(seed=seed),
            "random": lambda: samplers.RandomSampler(seed=seed),
            "brute_force": lambda: samplers.BruteForceSampler(seed=seed),
        }
        if self.sampler not in samplers_by_name:
            raise ConfigError(f"hydra.sweeper.sampler={self.sampler}: expected one of {', '.join(samplers_by_name)}.")
        return samplers_by_name[self.sampler]()

    def _retry_unfinished(self, study: optuna.Study, sweep_dir: Path) -> None:
        """Try trials of this sweep again, once, that were running when its process ended."""
        from optuna.trial import Trial, TrialState

        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(_SWEEP_DIR) != str(sweep_dir.resolve()):
                continue
            if trial.user_attrs.get(_IS_RETRY):
                Trial(study, trial._trial_id).set_user_attr("error", "its process ended, twice")
            else:
                study.enqueue_trial(trial.params, user_attrs={_IS_RETRY: True})
            study.tell(trial.number, state=TrialState.FAIL)
        done = len(_finished_trials(study))
        if done:
            say(f"qat: study {self.study_name}: {done} of {self.n_trials} trials are done")

    def _search(self, study: optuna.Study, space: dict[str, Any], fixed: Sequence[str], jobs: Jobs) -> None:
        while (missing := self.n_trials - len(_finished_trials(study))) > 0:
            trials = [study.ask(space) for _ in range(min(missing, self.n_jobs))]
            for trial in trials:
                trial.set_user_attr(_SWEEP_DIR, str(jobs.sweep_dir.resolve()))
            trials = [trial for trial in trials if not _copy_repeated_trial(study, trial)]
            overrides = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
            for each in overrides:  # a config that cannot be composed ends the search before it counts as a trial
                self.hydra_context.config_loader.load_sweep_config(self.config, each)
            batch = jobs.add(overrides)
            jobs.launch(self.launcher, self.config, batch)
            for trial, job in zip(trials, batch, strict=True):
                _report_to_study(study, trial, job)


def _copy_repeated_trial(study: optuna.Study, trial: optuna.Trial) -> bool:
    """Copy the values of an earlier trial with the same parameters; whether there was one."""
    repeated = [other for other in study.trials if other.values and other.params == trial.params]
    if repeated:
        trial.set_user_attr("job", repeated[0].user_attrs.get("job"))
        study.tell(trial, repeated[0].values)
    return bool(repeated)


def _report_to_study(study: optuna.Study, trial: optuna.Trial, job: Job) -> None:
    from optuna.trial import TrialState

    trial.set_user_attr("job", job.folder)
    if job.error is not None:
        trial.set_user_attr("error", job.error)
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, job.value)


def _finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials with values, and those whose job failed."""
    return [trial for trial in study.trials if trial.values is not None or "error" in trial.user_attrs]


def _write_solutions(study: optuna.Study, objectives: Sequence[str], sweep_dir: Path) -> None:
    """Print the trials of the Pareto front, and write them as JSON."""
    from qat.reporting.table import format_table  # brings NumPy

    best = sorted(study.best_trials, key=lambda trial: trial.number)
    if not best:
        return
    solutions = [
        {
            "job": trial.user_attrs.get("job"),
            "params": trial.params,
            "values": dict(zip(objectives, trial.values, strict=True)),
        }
        for trial in best
    ]
    rundir.write_text(sweep_dir / SOLUTIONS, json.dumps({"name": "optuna", "solutions": solutions}, indent=2) + "\n")
    say(f"\nqat: beaten by no other trial in {' and '.join(objectives)}:")
    keys = list(dict.fromkeys(key for each in solutions for key in each["params"]))
    cells = [
        [
            str(each["job"]),
            *(str(each["params"].get(key, "")) for key in keys),
            *map("{:g}".format, each["values"].values()),
        ]
        for each in solutions
    ]
    print(format_table(["job", *keys, *objectives], cells, (), columns_of(sys.stdout)), flush=True)
