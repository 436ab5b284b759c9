"""The search: two objectives, a stored study, and what a resumed one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from qat.cli.sweeps.search_space import make_search_space
from qat.errors import ConfigError

optuna = pytest.importorskip("optuna", reason="hydra/sweeper=optuna needs the extra optuna")
SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweep.dir=sweep", "quant.learning_rate=interval(1e-4,1e-1)")


def run_process(cwd, *arguments):
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(Path(__file__).with_name("odd_seeds.py")), *arguments]
    return subprocess.run(command, cwd=cwd, env=where, capture_output=True, text=True, timeout=120)


def space(*overrides):
    return make_search_space(OverridesParser.create().parse_overrides(list(overrides)))


def test_swept_values_become_distributions():
    results, fixed = space(
        "a=x,y", "b=interval(0.1,2)", "c=int(interval(1,9))", "d=tag(log,interval(1e-5,1e-3))", "e=range(1,9,2)", "f=3"
    )
    of = optuna.distributions
    assert results == {
        "a": of.CategoricalDistribution(("x", "y")),
        "b": of.FloatDistribution(0.1, 2),
        "c": of.IntDistribution(1, 9),
        "d": of.FloatDistribution(1e-5, 1e-3, log=True),
        "e": of.IntDistribution(1, 7, step=2),
    }
    assert fixed == ["f=3"]


def test_an_interval_the_wrong_way_round_is_refused():
    with pytest.raises(
        ConfigError, match=r"quant.ema_decay=interval\(2.0,1.0\): expected two numbers, the smaller fir"
    ):
        space("quant.ema_decay=interval(2,1)")


@pytest.mark.slow
@pytest.mark.parametrize(("storage", "crashes"), [("null", 1), ("sqlite:///study.db", 2)])
def test_a_study_is_stored_and_goes_on_after_a_crash(storage, crashes, tmp_path):
    (tmp_path / "crash").write_text("x" * crashes)
    command = [*SEARCH, "seed=0,2", "hydra.sweeper.n_trials=3", f"hydra.sweeper.storage={storage}"]
    for _ in range(crashes):
        assert run_process(tmp_path, *command).returncode == 9
        command = ["sweep.resume=sweep"]
    done = run_process(tmp_path, "sweep.resume=sweep", "hydra.sweeper.n_trials=4")
    assert done.returncode == 0, done.stderr
    assert len(ran(tmp_path / "sweep")) == (4 if crashes == 1 else 3)
    trials = trials_of(tmp_path, storage)
    assert [trial.state.name for trial in trials[: crashes + 1]] == ["FAIL"] * crashes + ["COMPLETE"]
    assert trials[1].params == trials[0].params  # tried again, once
    repeated = run_process(tmp_path, "sweep.resume=sweep")
    assert "4 of 4 trials are done" in repeated.stdout


def trials_of(folder, storage):
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal = JournalStorage(JournalFileBackend(str(folder / "sweep" / "study.journal")))
    where = journal if storage == "null" else f"sqlite:///{folder}/study.db"
    return optuna.load_study(study_name="train", storage=where).trials


def ran(sweep):
    return list(sweep.glob("*/results.json"))


@pytest.mark.slow
def test_two_objectives_leave_the_trials_that_no_other_beats(tmp_path):
    done = run_process(tmp_path, *SEARCH, "seed=0,2,1", "hydra.sweeper.n_trials=12", "hydra.sweeper.n_jobs=3")
    assert "jobs failed:" in done.stderr
    results = json.loads((tmp_path / "sweep/optimization_results.json").read_text())["solutions"]
    values = [(each["values"]["accuracy"], each["values"]["size_bytes"]) for each in results]
    everything = [json.loads(path.read_text())["variants"]["qat_int8"] for path in ran(tmp_path / "sweep")]
    points = [(each["metric"]["value"], each["size_bytes"]) for each in everything]
    beaten = [a for a in values for b in points if b != a and b[0] >= a[0] and b[1] <= a[1]]
    assert values
    assert not beaten


def test_objectives_that_are_none_are_refused(tmp_path):
    done = run_process(tmp_path, *SEARCH, "sweep.objectives=[speed]")
    assert done.returncode == 2
    assert "sweep.objectives=['speed']: expected one or several of accuracy, size_bytes, latency_ms." in done.stderr
