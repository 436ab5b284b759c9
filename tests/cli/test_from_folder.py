"""A sweep's folder that somebody else wrote: it chooses values, and runs nothing."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from qat.cli.sweeps.grid_sweeper import resume_command
from qat.cli.sweeps.resume import resume_arguments
from qat.cli.untrusted_settings import accept_overrides, read_yaml
from qat.errors import RunDirError

CHECKOUT = Path(__file__).resolve().parents[2]


def sweep(folder, *overrides, hydra=()):
    record = {"hydra": {"overrides": {"hydra": list(hydra), "task": list(overrides)}}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump(record))
    return f"sweep.resume={folder}"


HOSTILE = [
    "+hydra.callbacks.x={_target_: os.system, command: id}",
    "+hydra.callbacks.x._target_=os.system",
    "hydra.job.env_set.PATH=/tmp",
    "hydra.searchpath=[file:///tmp]",
    "+hydra.job_logging.handlers.x={class: a.B}",
    "hydra.launcher.setup=['rm -rf x']",
    "hydra.launcher.python=/tmp/python",
    "hydra.launcher._target_=os.system",
    "hydra.sweeper.storage='sqlite:////tmp/x.db'",
    "hydra.sweeper.params.data.target._target_=os.system",
    "hydra.sweeper.params.hydra.launcher.setup='[a]'",
    "hydra.sweep.subdir=/tmp/elsewhere",
    "data.target._target_=os.system",
    "data.target={_target_: os.system, command: id}",
    "data.target={'_target_': os.system}",
    "data.target={a: {b: [{_target_: os.system}]}}",
    "model.target._target_=os.system,os.popen",
    "train.callbacks=[{_target_: tf_keras.callbacks.ModelCheckpoint, filepath: /tmp/x}]",
    "train.optimizer={_target_: os.system},{_target_: os.popen}",
    "train.optimizer=${oc.decode:'{_target_: os.system}'}",
    "data.target=${oc.create:${oc.env:X}}",
    "+experiment=../../../../tmp/evil",
    "experiment=/tmp/evil",
    "hydra/launcher=../evil",
    "+data@model=digits",
    "log.mlflow_uri=http://elsewhere",
    "log={mlflow: true, mlflow_uri: 'http://elsewhere'}",
    "seed=(((((",
]


def test_the_printed_command_goes_on_with_what_only_the_command_line_may_say(tmp_path):
    overrides = ["seed=0,1", "log.mlflow_uri=http://here:5000", "model.target={_target_: a.b, n: '2 3'}"]
    argument = sweep(tmp_path, *overrides, hydra=["hydra.launcher.setup=['a b']"])
    record = OmegaConf.create({"hydra": {"job": {"name": "train"}, **OmegaConf.load(tmp_path / "multirun.yaml").hydra}})
    words = shlex.split(resume_command(tmp_path, record))
    assert words[1:3] == ["-m", "qat.train"]
    argv = resume_arguments(words[3:])
    assert argv.count("log.mlflow_uri=http://here:5000") == 1
    assert {*overrides, argument} <= set(argv)


def test_a_place_said_now_is_taken_in_place_of_the_folders(tmp_path):
    argv = resume_arguments(
        [sweep(tmp_path, "seed=0,1", "log.mlflow_uri=http://elsewhere"), "log.mlflow_uri=http://here"]
    )
    assert "log.mlflow_uri=http://here" in argv
    assert "log.mlflow_uri=http://elsewhere" not in argv


@pytest.mark.parametrize("override", HOSTILE)
def test_what_would_run_code_or_lead_elsewhere_is_refused_and_named(tmp_path, override):
    with pytest.raises(RunDirError, match=r"multirun.yaml: .* not run unasked.*trust=true"):
        resume_arguments([sweep(tmp_path, "seed=0,1", override)])


def test_a_sweep_with_links_is_refused_for_its_jobs_would_write_elsewhere(tmp_path):
    resume = sweep(tmp_path, "seed=0,1")
    (tmp_path / "seed=0").symlink_to(tmp_path.parent)
    with pytest.raises(RunDirError, match=r"seed=0: a link, to .*, and not a place of this folder"):
        resume_arguments([resume])


@pytest.mark.parametrize("override", HOSTILE[:12])
def test_it_is_taken_when_the_command_line_says_it_or_trusts_the_folder(tmp_path, override):
    resume = sweep(tmp_path, "seed=0,1", override)
    assert override in resume_arguments([resume, override])
    assert override in resume_arguments([resume, "trust=true"])


def test_a_function_is_taken_when_its_name_stands_on_the_command_line(tmp_path):
    resume = sweep(tmp_path, "data=user", "data.target={_target_: mine.load, size: 3}")
    assert "data.target={_target_: mine.load, size: 3}" in resume_arguments([resume, "trust=[mine.load]"])
    with pytest.raises(RunDirError, match=r"data.target._target_"):
        resume_arguments([resume, "trust=[mine.other]"])


@pytest.mark.parametrize("folder", ["run-mine.load", "mine.load"])
def test_a_function_is_not_taken_because_the_folder_is_called_so(tmp_path, folder):
    (tmp_path / folder).mkdir()
    resume = sweep(tmp_path / folder, "data=user", "data.target={_target_: mine.load, size: 3}")
    with pytest.raises(RunDirError, match=r"data.target._target_"):
        resume_arguments([resume, "trust=[mine.loader]"])


@pytest.mark.parametrize(
    "override",
    [
        r"data.target=$\{oc.create:\{_target_\:os.system\,command\:ls\}\}",
        r"model.path=$\{oc.env:HOME\}/nothing.keras",
        r"train.callbacks=[$\{oc.create:\{_target_\:os.system\}\}]",
        r"seed=1,$\{oc.env:HOME\}",
        r"data.target={$\{oc.env:HOME\}: 1}",
    ],
)
def test_an_interpolation_is_one_however_it_is_escaped(tmp_path, override):
    with pytest.raises(RunDirError, match=r"refers to other settings|cannot be understood"):
        resume_arguments([sweep(tmp_path, override)])


def test_a_folder_starts_no_thousands_of_processes(tmp_path):
    with pytest.raises(RunDirError, match=r"n_jobs=100000' sets how jobs are started"):
        resume_arguments([sweep(tmp_path, "seed=0,1", hydra=["hydra.launcher.n_jobs=100000"])])
    assert "hydra.launcher.n_jobs=8" in resume_arguments([sweep(tmp_path, hydra=["hydra.launcher.n_jobs=8"])])


def test_a_folder_puts_float_models_into_a_cache_and_nowhere_else(tmp_path, capsys):
    cache, elsewhere = tmp_path / "cache", tmp_path / "documents"
    (cache / ("0123456789abcdef" * 2)[:24]).mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "letter.txt").touch()
    kept, other = f"float_cache={cache}", f"float_cache={elsewhere}"
    assert accept_overrides([kept], ["resume=x"], "there") == [kept]
    assert accept_overrides([other], ["resume=x", other], "there") == [other]
    (tmp_path / "empty").mkdir()
    for place in (elsewhere, tmp_path / "empty", tmp_path / "none"):
        for key in ("float_cache", "++float_cache", "+hydra.sweeper.params.float_cache"):
            assert accept_overrides(["seed=1", f"{key}={place}"], ["resume=x"], "there") == ["seed=1"]
    assert "documents: no cache of float models is there" in capsys.readouterr().err


HARMLESS = [
    *(
        "seed=0,1,2",
        "quant=ptq,qat",
        "+sweep=quantizers",
        "model.alpha=0.25,0.5",
        "data.path=my.npz",
        "debug=tiny",
        "logger=csv",
    ),
    *("train.optimizer._target_=tf_keras.optimizers.SGD", "quant.per_layer={conv1: {weight_bits: 4}}", "~log"),
    *("quant.learning_rate=tag(log,interval(1e-5,1e-3))", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=30"),
    *("hydra/launcher=ray", "hydra.launcher.cpus_per_job=2", "hydra.launcher.partition=short", "seed=range(0,3)"),
    *("hydra.sweeper.params.seed='0,1'", "export.io=[int8,float32]", "quant.skip=['^a.*$']"),
]


def test_what_sweeps_are_made_of_is_taken_as_it_is():
    assert accept_overrides(HARMLESS, ["sweep.resume=x"], "there") == HARMLESS


def test_a_folder_cannot_say_that_it_is_trusted_nor_lift_limits(tmp_path):
    line = resume_arguments(
        [
            sweep(
                tmp_path,
                *("seed=1", "trust=true", "model.trust_custom_objects=true", "limits.memory_mb=99999", "++trust=[a.b]"),
                *(
                    "+hydra.sweeper.params.trust=true",
                    "hydra.sweeper.params.limits.memory_mb=99999",
                    "limits={seconds: 9}",
                ),
                *("hydra.sweeper.params.+trust=true", "hydra.sweeper.params.hydra.sweeper.params.trust=true"),
            )
        ]
    )
    assert line[1:2] == ["seed=1"]
    assert not [part for part in line if "trust" in part or "limits" in part]


def test_the_command_ends_with_2_and_runs_nothing(tmp_path):
    marker = tmp_path / "marker"
    resume = sweep(tmp_path, "seed=0", f"+hydra.callbacks.x={{_target_: os.system, command: 'touch {marker}'}}")
    where = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "qat.train", resume]
    ended = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "hydra.callbacks" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not marker.exists()


def test_yaml_that_grows_without_end_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tmp_path / "multirun.yaml").write_text("\n".join(lines))
    with pytest.raises(RunDirError, match=r"multirun.yaml: YAML with aliases"):
        resume_arguments([f"sweep.resume={tmp_path}"])


@pytest.mark.parametrize(
    "content", ["[" * 5000, "{" * 3000, "a: b: c", "\x00", "- 1", "hydra: 3", "hydra: {overrides: [1]}"]
)
def test_a_record_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "multirun.yaml").write_text(content)
    with pytest.raises(RunDirError, match=r"no directory of a sweep"):
        resume_arguments([f"sweep.resume={tmp_path}"])


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "multirun.yaml")
    with pytest.raises(RunDirError, match=r"a pipe, socket or device"):
        read_yaml(tmp_path / "multirun.yaml")
