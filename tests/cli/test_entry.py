"""A command as a process: exit codes, what is imported, what is left behind, what a sweep refuses before it starts."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qat import rundir
from qat.cli.sweeps.requested_jobs import list_requested_jobs, parse_arguments
from qat.config import Config
from qat.tflite import with_metadata
from qat.tflite.benchmark.single_ops import tiny_model

SLOW_IMPORTS = ("tensorflow", "tf_keras", "sklearn", "rich", "PIL", "matplotlib")


def run_process(*arguments, cwd, **environment):
    command = [sys.executable, "-X", "importtime", "-m", "qat.train", *arguments]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment}
    return subprocess.run(command, cwd=cwd, env=where, capture_output=True, text=True, timeout=120)


def imported(done):
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def stderr_lines(done):
    return [line for line in done.stderr.splitlines() if not line.startswith("import time:")]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["--help"], 0),
        (["--cfg", "job"], 0),
        (["train.epochz=3"], 2),
        (["model=mobilnet"], 2),
        (["train.epochs=-1"], 2),
        (["-m", "seed=0,x"], 2),
    ],
)
def test_an_answer_about_the_config_imports_nothing_slow_and_leaves_no_folder(arguments, exit_code, tmp_path):
    done = run_process(*arguments, cwd=tmp_path)
    assert done.returncode == exit_code
    assert "qat.config" in imported(done)
    assert not imported(done) & set(SLOW_IMPORTS)
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_one_line_and_no_stack(tmp_path):
    (line,) = stderr_lines(run_process("train.epochs=many", cwd=tmp_path))
    assert line.startswith("qat: train.epochs=many: expected an integer (")


def test_a_working_folder_that_was_removed_is_said(tmp_path):
    command = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m qat.train"
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=where, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == "qat: the working folder is no longer there: change into another one, by cd.\n"


def test_a_name_of_a_file_that_is_no_text_is_refused_before_any_work(tmp_path):
    done = run_process("hydra.run.dir=run\udcff", cwd=tmp_path)
    assert done.returncode == 2
    assert stderr_lines(done)[0].startswith(r"qat: hydra.run.dir=run\udcff: a name that is no UTF-8 text")


def test_what_is_set_for_other_work_of_keras_and_matplotlib_does_not_count(tmp_path):
    code = "import os\nok = (os.environ['KERAS_BACKEND'], os.environ['MPLBACKEND']) == ('tensorflow', 'agg')\n"
    (tmp_path / "mine.py").write_text(f"{code}os._exit(7 if ok else 8)\n")
    arguments = ["tflite=x.tflite", "data=digits", "user.preprocess=mine:f"]
    (tmp_path / "x.tflite").write_bytes(with_metadata(tiny_model()))
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "KERAS_BACKEND": "jax", "MPLBACKEND": "none"}
    command = [sys.executable, "-m", "qat.diagnose", *arguments]
    assert subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, timeout=120).returncode == 7


def test_a_folder_that_is_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    done = run_process("hydra.run.dir=loop", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = stderr_lines(done)
    assert "loop" in line
    assert "Choose another folder" in line


def test_a_finished_run_is_refused_before_anything_is_written_into_its_folder(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    done = run_process(f"hydra.run.dir={tmp_path}", cwd=tmp_path)
    assert done.returncode == 2
    assert stderr_lines(done)[0].startswith(
        f"qat: {tmp_path} holds a finished run (results.json). Choose another folder"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert not imported(done) & set(SLOW_IMPORTS)


def test_a_folder_is_locked_before_hydra_writes_there_so_that_no_second_run_does(tmp_path):
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "qat.train", "hydra.run.dir=run"]
    with subprocess.Popen([*command, "seed=1"], cwd=tmp_path, env=where, stdout=subprocess.DEVNULL) as first:
        settings = tmp_path / "run" / ".hydra" / "overrides.yaml"
        while not (settings.exists() and settings.read_text()):
            assert first.poll() is None
            time.sleep(0.01)
        assert rundir.is_claimed(tmp_path / "run")
        second = run_process("seed=2", "hydra.run.dir=run", cwd=tmp_path)
        first.kill()
    assert second.returncode == 2
    assert f"run is being written by process {first.pid} on " in second.stderr
    assert "seed=1" in settings.read_text()


def test_settings_that_nothing_reads_are_said_and_functions_that_do_not_exist_refused_before_tensorflow(tmp_path):
    callbacks = "train.callbacks=[{_target_:tf_keras.callbacks.Nope}]"
    done = run_process("quant=ptq", "quant.learning_rate=1", callbacks, cwd=tmp_path)
    assert done.returncode == 2
    said = " ".join(stderr_lines(done))
    assert (
        "warning: quant.learning_rate: read by quantization-aware training, as quant=qat, and by nothing else" in said
    )
    assert "train.callbacks[0]._target_=tf_keras.callbacks.Nope: module tf_keras.callbacks has no Nope" in said
    assert "tensorflow" not in imported(done)


def test_hydras_own_variable_brings_the_stack_back(tmp_path):
    lines = stderr_lines(run_process("train.epochs=many", cwd=tmp_path, HYDRA_FULL_ERROR="1"))
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("qat: train.epochs=many: expected an integer (")


def test_help_shows_each_option_with_what_it_answers_and_the_settings_of_this_command(tmp_path):
    page = run_process("--help", "train.epochs=77", cwd=tmp_path).stdout
    assert "  model=resnet8 " in page
    assert "  debug=tiny                  Does the whole pipeline run?" in page
    assert "  train.epochs=77             epochs of the float training; 0 only for a model" in page
    assert "(at least 0; default 30)" in page


def test_the_composed_config_is_shown_with_its_overrides(tmp_path):
    output = run_process("--cfg", "job", "seed=41", "quant=ptq", cwd=tmp_path).stdout
    assert "seed: 41" in output
    assert "name: ptq" in output


@pytest.mark.parametrize(
    ("folder", "reason"),
    [("a_file/run", "a_file/run: cannot be written (Not a directory)"), ("a" * 300, ": File name too long")],
    ids=["file", "long"],
)
def test_an_output_folder_that_cannot_be_made_is_named(folder, reason, tmp_path):
    (tmp_path / "a_file").write_text("")
    done = run_process(f"hydra.run.dir={folder}", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{reason}. Choose another folder, as hydra.run.dir=DIR." in stderr_lines(done)[-1]


def jobs(*argv):
    return list(list_requested_jobs(parse_arguments(argv), "train", Config))


def test_a_sweep_is_checked_at_every_value_and_not_at_every_combination():
    assert jobs("-m", "quant=ptq,qat", "seed=1,2,3", "train.epochs=1") == [
        ["quant=ptq", "seed=1", "train.epochs=1"],
        ["quant=qat", "seed=1", "train.epochs=1"],
        ["quant=ptq", "seed=2", "train.epochs=1"],
        ["quant=ptq", "seed=3", "train.epochs=1"],
    ]


def test_a_sweep_over_all_options_of_a_group_is_expanded():
    assert ["quant=ptq_float16"] in jobs("-m", "quant=glob(ptq*)")


def test_flags_that_only_show_need_no_check():
    assert jobs("--cfg", "job", "train.epochz=3") == []


def test_a_password_that_was_typed_is_not_said_again(tmp_path):
    done = run_process("log.mlflow_uri=", "http://user:s3cret@host", cwd=tmp_path)
    assert done.returncode == 2
    assert "written without spaces: log.mlflow_uri=http://host" in done.stderr
    assert "s3cret" not in done.stderr
