"""`resume=DIR`: the settings come from DIR, what would change a result is refused by key, and nothing is touched."""

import dataclasses
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qat import rundir
from qat.cli import compose
from qat.cli.resumed_run import resume_run_arguments
from qat.cli.sweeps.requested_jobs import asks_for_sweep, list_requested_jobs, parse_arguments
from qat.config import Config
from qat.errors import ConfigError, RunDirError
from qat.results import settings_to_json
from qat.stages.run import _resume_command

BEGUN = ["debug=tiny", "seed=4", "quant.learning_rate=1e-3"]


def run_process(*arguments, cwd):
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "qat.train", *arguments]
    return subprocess.run(command, cwd=cwd, env=where, capture_output=True, text=True, timeout=120)


@pytest.fixture
def killed(tmp_path):
    """A folder as a run leaves it that was killed after its float training."""
    folder = tmp_path / "run"
    record = {"config": settings_to_json(dataclasses.asdict(compose(BEGUN))), "versions": {}, "states": {}}
    stages = {"float": {"values": {"origin": "trained here"}, "sha256": {}}}
    rundir.write_json(folder / ".resume" / "run.json", record | {"stages": stages, "resumed": []})
    rundir.write_text(folder / ".hydra" / "overrides.yaml", "".join(f"- {each}\n" for each in BEGUN))
    return folder


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_settings_come_from_the_folder(killed):
    line = [*BEGUN, f"hydra.run.dir='{killed}'"]
    assert resume_run_arguments([f"resume={killed}"]) == line
    assert resume_run_arguments([f"resume={killed}", f"hydra.run.dir={killed}"]) == line
    more = resume_run_arguments([f"resume={killed}", "seed=5", "threads=2"])
    assert more == ["debug=tiny", "seed=5", "quant.learning_rate=1e-3", "threads=2", f"hydra.run.dir='{killed}'"]


def test_a_job_of_a_sweep_goes_on_as_one_run(killed, tmp_path):
    rundir.write_text(killed / ".hydra" / "overrides.yaml", "- +sweep=quantizers\n- debug=tiny\n- quant=ptq\n")
    argv = resume_run_arguments([f"resume={killed}"])
    assert not asks_for_sweep(parse_arguments(argv), "train", Config)
    (job,) = list_requested_jobs(parse_arguments(argv), "train", Config)
    assert compose(job).quant.name == "ptq"


def test_the_printed_command_says_what_a_folder_alone_may_not(killed):
    config = compose(["model=user", "model.target._target_=mine.model"])
    config.log.mlflow_uri = "http://here"
    mlflow, resume, trust = sorted(shlex.split(_resume_command(config, killed))[3:])
    folder_says = [*BEGUN, "model=user", "model.target={_target_: mine.model, size: 3}", "log.mlflow_uri=http://here"]
    rundir.write_text(killed / ".hydra" / "overrides.yaml", "".join(f'- "{each}"\n' for each in folder_says))
    assert set(folder_says) <= set(resume_run_arguments([mlflow, resume, trust]))
    with pytest.raises(RunDirError, match="not run unasked"):
        resume_run_arguments([resume])


@pytest.mark.parametrize("arguments", [["resume=null"], ["resume=", "seed=1"]])
def test_null_resumes_nothing(arguments):
    assert resume_run_arguments(arguments) == arguments[1:]


def test_another_folder_a_sweep_and_what_is_no_run_are_refused(killed, tmp_path):
    with pytest.raises(ConfigError, match=r"a run goes on in its own folder\. Leave hydra\.run\.dir out"):
        resume_run_arguments([f"resume={killed}", "hydra.run.dir=other"])
    with pytest.raises(ConfigError, match=r"what is missing of a sweep is run by sweep\.resume=DIR"):
        resume_run_arguments(["-m", f"resume={killed}"])
    with pytest.raises(RunDirError, match=r"no directory of a run of qat\.train"):
        resume_run_arguments([f"resume={tmp_path}"])


def test_what_would_run_code_is_not_taken_from_a_folder(killed):
    with (killed / ".hydra" / "overrides.yaml").open("a") as file:
        file.write("- train.optimizer._target_=os.system\n")
    with pytest.raises(RunDirError, match=r"names a function to call"):
        resume_run_arguments([f"resume={killed}"])


def test_cut_overrides_are_said_with_the_way_out(killed):
    (killed / ".hydra" / "overrides.yaml").write_text("- debug=tiny\n- [seed")
    with pytest.raises(RunDirError, match=r"Give the command that began it once more, with hydra\.run\.dir="):
        resume_run_arguments([f"resume={killed}"])


def test_an_override_that_changes_a_result_is_refused_by_key_and_nothing_is_touched(killed):
    before = contents(killed)
    for arguments in ([f"resume={killed}", "seed=5"], [*BEGUN[:1], *BEGUN[2:], "seed=5", f"hydra.run.dir={killed}"]):
        done = run_process(*arguments, cwd=killed.parent)
        assert done.returncode == 2, done.stderr
        assert f"seed=5: the run in {killed} was begun with 4" in done.stderr
        assert contents(killed) == before


def test_a_finished_run_is_nothing_to_do(killed):
    rundir.write_json(killed / "results.json", {})
    done = run_process(f"resume={killed}", cwd=killed.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nothing to do: the run is finished\n")


def test_a_finished_run_does_not_take_other_settings_in_silence(killed):
    rundir.write_json(killed / "results.json", {})
    shutil.rmtree(killed / ".resume")
    done = run_process(f"resume={killed}", "seed=5", cwd=killed.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"seed=5: the run in {killed} was begun with 4" in done.stderr


def test_a_run_that_is_being_written_keeps_its_settings(killed):
    before = contents(killed)
    with rundir.lock(killed / ".lock"):
        done = run_process(*BEGUN, f"hydra.run.dir={killed}", cwd=killed.parent)
    assert done.returncode == 2
    assert "is being written by process" in done.stderr
    assert before.items() <= contents(killed).items()
    assert {path.name for path in contents(killed).keys() - before.keys()} == {".lock"}


def test_it_is_taken_from_the_command_line_alone():
    with pytest.raises(ConfigError, match=r"resume=there: taken from the command line alone"):
        compose(["resume=there"])
