"""The same sweep on every engine: jobs side by side, one that dies, and real ones that share a float model."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from qat.cli import extras
from qat.cli.explain import explain_unknown_option
from qat.commands import install_command
from qat.errors import ConfigError

CHECKOUT = Path(__file__).parents[2]
ENGINES = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "ray": ["hydra.launcher.cores=2"],
    "submitit_local": [],
    "submitit_slurm": ["hydra.launcher.cpus_per_task=1"],
}
MODULES = {"joblib": "hydra_joblib_launcher", "submitit_local": "submitit", "submitit_slurm": "submitit"}


def engine(name):
    """The overrides that choose an engine; skips where it is not there."""
    module = MODULES.get(name, name)
    there = importlib.util.find_spec(module) or _is_plugin(module)
    if not there:
        pytest.skip(f"{module} is not installed: {install_command(name.partition('_')[0])}")
    if name == "submitit_slurm" and not _slurm_answers():
        pytest.skip("no Slurm answers here (sinfo): it needs munged, slurmctld and slurmd")
    return [f"hydra/launcher={name}", *ENGINES[name]]


def _is_plugin(module):
    try:
        return importlib.util.find_spec(f"hydra_plugins.{module}") is not None
    except ModuleNotFoundError:
        return False


def _slurm_answers():
    return shutil.which("sinfo") and subprocess.run(["sinfo"], capture_output=True, timeout=30).returncode == 0


def start(cwd, *command):
    where = {**os.environ, "PYTHONPATH": str(CHECKOUT), "XDG_CACHE_HOME": str(cwd / "cache")}
    arguments = [sys.executable, *command, "-m", "hydra.sweep.dir=sweep"]
    return subprocess.run(arguments, cwd=cwd, env=where, capture_output=True, text=True, timeout=400)


EVERY = [
    "joblib",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("ray", "submitit_local", "submitit_slurm")),
]


@pytest.mark.medium
@pytest.mark.parametrize("name", EVERY)
def test_jobs_share_the_cores_and_one_that_fails_ends_no_other(name, tmp_path):
    done = start(tmp_path, str(Path(__file__).with_name("odd_seeds.py")), *engine(name), "seed=0,1,2")
    assert done.returncode == 1, done.stderr
    assert "1 of 3 jobs failed:\n  seed=1\n      ValueError: seed 1 is odd" in done.stderr
    ran = {path.parent.name: path.read_text().split() for path in tmp_path.glob("sweep/*/ran")}
    assert sorted(ran) == ["seed=0", "seed=2"]
    share = str(max(1, len(os.sched_getaffinity(0)) // 3)) if name == "submitit_local" else ran["seed=0"][0]
    assert all(words[:2] == [share, share] and words[3] == "plain" for words in ran.values())
    assert int(share) <= len(os.sched_getaffinity(0)) // 2 or share == "1"


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_a_job_whose_process_dies_takes_no_other_along(name, tmp_path):
    (tmp_path / "deadly").write_text("2")  # joblib starts the jobs of a dead pool again: this one dies each time
    done = start(tmp_path, str(Path(__file__).with_name("odd_seeds.py")), *engine(name), "seed=0,2,4")
    assert done.returncode == 1, done.stderr
    assert "1 of 3 jobs failed:" in done.stderr
    lost = "the launcher ended with TerminatedWorkerError" if name == "joblib" else "its process ended without a word: "
    assert lost in done.stderr
    assert len(list(tmp_path.glob("sweep/*/results.json"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", list(ENGINES))
def test_real_jobs_side_by_side_train_their_float_model_once(name, tmp_path):
    tiny = ("debug=tiny", "model=simple_cnn", "log.tensorboard=false")
    done = start(tmp_path, "-m", "qat.train", *tiny, *engine(name), "quant=ptq,qat,ptq_float16")
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.glob("sweep/*/results.json")]
    assert len(results) == 3
    assert [each["float_model"] for each in results].count("trained here") == 1
    assert {each["config"]["train"]["threads"] for each in results} == {1}
    assert "page:\n  sweep/compare/index.html\n" in done.stdout


@pytest.mark.medium
@pytest.mark.parametrize(("option", "module"), [("hydra/launcher=ray", "ray"), ("hydra/sweeper=optuna", "optuna")])
def test_an_engine_that_is_not_installed_is_named_with_its_extra(option, module, tmp_path):
    hidden = (  # as on a machine without it
        "import sys, runpy\n"
        "class Hide:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {module!r}: raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Hide)\n"
        f"sys.argv = ['train', '-m', {option!r}, 'seed=0,1', 'hydra.sweep.dir=sweep']\n"
        "runpy.run_module('qat.train', run_name='__main__')\n"
    )
    where = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", hidden]
    done = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert lines[-2] == f"qat: {option}: what it needs is not installed. It is an extra:"
    assert shlex.split(lines[-1]) == [sys.executable, "-m", "pip", "install", "-e", f"{CHECKOUT}[{module}]"]
    assert not list(tmp_path.glob("sweep/*/results.json"))


@pytest.mark.parametrize(("name", "extra"), [("joblib", "joblib"), ("submitit_slurm", "submitit")])
def test_a_launcher_that_hydra_does_not_know_is_an_extra_and_no_typo(name, extra, monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda module: False)
    with pytest.raises(ConfigError, match=rf"launcher={name}: what it needs [^§]*-m pip install [^§]*\[{extra}\]"):
        explain_unknown_option("hydra/launcher", name, ["basic", "ray"])


def test_a_job_that_submitit_lost_is_a_failed_one():
    """Slurm said nothing, or the process died: the sweep goes on with the other jobs."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    from submitit.core.utils import FailedJobError

    from qat.cli.launchers import submitit_launcher

    def results():
        raise FailedJobError("signal 9")

    lost = submitit_launcher._wait_for_result(SimpleNamespace(results=results), in_queue=False)
    assert lost.status.name == "FAILED"
    assert set(submitit_launcher.LAUNCHERS) == {"submitit_local", "submitit_slurm"}
