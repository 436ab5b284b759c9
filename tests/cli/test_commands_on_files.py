"""The commands that take anybody's file, as processes: exit codes, messages, and no slow import before it is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qat.tflite import with_metadata
from qat.tflite.benchmark.single_ops import tiny_model


def run_process(name, *arguments, cwd):
    command = [sys.executable, "-X", "importtime", "-m", f"qat.{name}", *arguments]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=cwd, env=where, capture_output=True, text=True, timeout=120)
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    return done, imported, [line for line in lines if not line.startswith("import time:")]


@pytest.fixture
def file(tmp_path):
    """A float file that gives x + x for x [N, 1]."""
    (tmp_path / "tiny.tflite").write_bytes(with_metadata(tiny_model()))
    return tmp_path / "tiny.tflite"


@pytest.mark.parametrize("name", ["evaluate", "benchmark"])
def test_help_comes_without_tensorflow_and_numpy(name, tmp_path):
    done, imported, _ = run_process(name, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "  tflite=" in done.stdout
    assert not imported & {"tensorflow", "numpy"}


@pytest.mark.medium
@pytest.mark.parametrize("name", ["evaluate", "benchmark"])
@pytest.mark.parametrize("content", [b"", b"\x1c\x00\x00\x00TFL3 and then nothing that makes sense at all ......"])
def test_a_file_that_is_none_ends_with_2_and_one_line(name, content, tmp_path):
    (tmp_path / "broken.tflite").write_bytes(content)
    data = ["data=digits"] if name == "evaluate" else []
    done, imported, stderr_lines = run_process(name, "tflite=broken.tflite", *data, "hydra.run.dir=out", cwd=tmp_path)
    assert done.returncode == 2
    assert stderr_lines[-1].startswith("qat: ")
    assert not any(line.startswith("Traceback") for line in stderr_lines)
    assert "tensorflow" not in imported


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "argument", "more"),
    [
        ("evaluate", "tflite=nothere.tflite", ["data=digits"]),
        ("benchmark", "run=nothere", []),
        ("compare", "runs=nothere", []),
    ],
)
def test_what_is_refused_leaves_no_folder(name, argument, more, tmp_path):
    done, _, stderr_lines = run_process(name, argument, "hydra.run.dir=out", *more, cwd=tmp_path)
    assert done.returncode == 2, stderr_lines
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_is_written_where_it_is_asked_for(file, tmp_path):
    x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    np.savez(tmp_path / "signs.npz", x_train=x, y_train=x[:, 0] > 0.25, x_test=x, y_test=x[:, 0] > 0.25)
    with np.load(tmp_path / "signs.npz") as stored:
        arrays = {key: stored[key].astype(np.int64) if key.startswith("y") else stored[key] for key in stored}
    np.savez(tmp_path / "signs.npz", **arrays)
    done, imported, stderr_lines = run_process(
        "evaluate", f"tflite={file}", "data=signs.npz", "hydra.run.dir=out", cwd=tmp_path
    )
    assert done.returncode == 0, stderr_lines
    results = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {"accuracy", "samples", "input_dtype", "output_dtype", "contract"} <= set(results)
    assert results["samples"] == 60
    assert (results["input_dtype"], results["output_dtype"]) == ("float32", "float32")
    assert "tensorflow" not in imported


@pytest.mark.medium
def test_a_benchmark_is_written_where_it_is_asked_for(file, tmp_path):
    quick = ["rounds=2", "seconds=0.02", "warmup_seconds=0"]
    done, _, stderr_lines = run_process("benchmark", f"tflite={file}", *quick, "hydra.run.dir=out", cwd=tmp_path)
    assert done.returncode == 0, stderr_lines
    rows = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert [row["delegate"] for row in rows] == [True, False]
    assert {"file", "size_bytes", "threads", "batch", "median_ms", "p95_ms", "peak_bytes", "macs"} <= set(rows[0])


def test_verify_says_what_accelerators_would_reject(file, tmp_path):
    done, _, _ = run_process("verify", f"tflite={file}", "readiness=true", cwd=tmp_path)
    assert done.returncode == 1
    assert "full int8: NOT ready" in done.stdout


def test_data_that_nobody_chose_is_asked_for(file, tmp_path):
    done, _, stderr_lines = run_process("evaluate", f"tflite={file}", cwd=tmp_path)
    assert done.returncode == 2
    assert stderr_lines[-1].startswith("qat: data: nothing is chosen. Choose one of cifar10, digits,")
