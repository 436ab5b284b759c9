"""The main job as a process: exit codes, sweeps that share a float model, and what an interruption leaves."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = ("debug=tiny", "model=simple_cnn", "log.progress=plain")


def start(tmp_path, *arguments):
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "qat.train", *TINY, *arguments],
        cwd=tmp_path,
        env=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


@pytest.mark.slow
def test_a_sweep_trains_the_float_model_once_and_one_bad_job_does_not_end_the_others(tmp_path):
    sweep = ("-m", "quant=ptq,ptq_float16", "quant.calibration.min_samples=8,99", "hydra.sweep.dir=sweep")
    exit_code, output = finish(start(tmp_path, *sweep))
    assert exit_code == 2
    assert output.count("float model: trained here") == 1
    assert output.count("float model: cache ") == 2  # the job with too few samples is refused before it wants one
    written = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("sweep/*/results.json")}
    assert {job: list(result["variants"]) for job, result in written.items()} == {
        "quant=ptq,quant.calibration.min_samples=8": ["float", "ptq_int8"],
        "quant=ptq_float16,quant.calibration.min_samples=8": ["float", "ptq_float16"],
        "quant=ptq_float16,quant.calibration.min_samples=99": ["float", "ptq_float16"],
    }
    assert "qat: this job failed, the others go on:\n  sweep/" in output
    assert "qat: 1 of 4 jobs failed:\n  quant=ptq,quant.calibration.min_samples=99\n" in output
    assert "page:\n  sweep/compare/index.html\n" in output
    assert re.search(
        r"curves of all jobs:\n  .* --logdir sweep\nthen open\n  http://localhost:6006/\?smoothing=0", output
    )


@pytest.mark.slow
def test_two_runs_side_by_side_train_the_float_model_once(tmp_path):
    runs = [start(tmp_path, "quant=float", f"hydra.run.dir={name}") for name in ("one", "two")]
    ends = [finish(run) for run in runs]
    assert [exit_code for exit_code, _ in ends] == [0, 0], ends
    both = "".join(output for _, output in ends)
    assert both.count("float model: trained here") == 1
    assert both.count("float model: cache ") == 1


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "exit_code"),
    [
        ("SIGTERM", 143),
        pytest.param("SIGINT", 130, marks=pytest.mark.slow),
        pytest.param("SIGKILL", -9, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_leaves_whole_files_alone(name, exit_code, tmp_path):
    process = start(tmp_path, "quant=ptq", "train.epochs=100000", "train.early_stop_epochs=null", "hydra.run.dir=run")
    for line in process.stdout:
        if "epoch 2/" in line:
            break
    process.send_signal(getattr(signal, name))
    ended, output = finish(process)
    assert ended == exit_code, output
    if name != "SIGKILL":
        assert "what was written so far is whole" in output
        assert re.search(r"To go on from here:\n  .* -m qat\.train resume=run\n", output)
        assert (tmp_path / "run" / ".resume" / "float_checkpoints" / "checkpoint").is_file()
    left = {path.name for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert not {"results.json", "model.keras", "model.tflite"} & left
    assert list((tmp_path / "cache").rglob("float.json")) == []


@pytest.mark.slow
def test_a_second_process_in_the_same_folder_is_refused_while_the_first_writes(tmp_path):
    first = start(tmp_path, "quant=float", "train.epochs=100000", "hydra.run.dir=run")
    for line in first.stdout:
        if "epoch 1/" in line:
            break
    started = time.monotonic()
    exit_code, output = finish(start(tmp_path, "quant=float", "hydra.run.dir=run"))
    first.terminate()
    finish(first)
    assert exit_code == 2
    assert f"run is being written by process {first.pid} on " in output
    assert time.monotonic() - started < 60


@pytest.mark.slow
def test_a_file_that_may_not_grow_is_named_and_leaves_no_part(tmp_path):
    command = f"ulimit -f 40; exec {sys.executable} -m qat.train {' '.join(TINY)} quant=ptq hydra.run.dir=run"
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        ["bash", "-c", f"trap '' XFSZ; {command}"], cwd=tmp_path, env=where, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2, done.stderr
    assert "no file may be so large here" in done.stderr
    assert not list((tmp_path / "run").rglob("*.part"))
    assert not (tmp_path / "run" / "results.json").exists()
