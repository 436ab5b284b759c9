"""The command: exit codes, files written, words for a person."""

import json
import subprocess
import sys

import numpy as np
import pytest

from qat.config import DiagnoseConfig
from qat.diagnose import _as_typed, _data_as_file
from qat.diagnosis.command import _naming_keys, read_jobs
from qat.errors import DataError, QatError


def run(folder, *arguments):
    command = [sys.executable, "-m", "qat.diagnose", *arguments, f"hydra.run.dir={folder}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.medium
@pytest.mark.parametrize(("name", "expect", "code", "words"), [
    ("int8", "int8", 0, "NO FAULT FOUND"),
    ("float32", "int8", 1, "C01 NOT_QUANTIZED (certain)"),
])  # fmt: skip
def test_exit_code_and_verdict(files, tmp_path, name, expect, code, words):
    path = tmp_path / "model.tflite"
    path.write_bytes(getattr(files, name))
    ended = run(tmp_path / "out", f"tflite={path}", f"expect={expect}")
    assert ended.returncode == code, ended.stderr
    assert words in ended.stdout
    written = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert written["blame"] == ("none" if code == 0 else "model")
    assert "<html" in (tmp_path / "out" / "diagnosis.html").read_text()


@pytest.mark.parametrize("argument", ["data=digits", "data=test.npz", "tflite=a.tflite"])
def test_the_page_tells_the_command_as_it_was_typed(argument):
    assert _as_typed(_data_as_file(argument)) == argument


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give one of them"),
        (["tflite=nowhere.tflite"], "cannot be read"),
        (["tflite=a", "user.prepare=b"], "no such key"),
    ],
)
def test_refusals_exit_with_2(tmp_path, arguments, words):
    ended = run(tmp_path / "out", *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tflite": "a", "run": "b"}, "tflite and run: give one of them"),
        ({"tflite": "nowhere.tflite", "keras": "a.keras"}, "nowhere.tflite: cannot be read"),
        ({"keras": "nowhere.keras"}, "keras=nowhere.keras: no such file or folder"),
        ({"preprocess": "json:nope"}, "^preprocess=json:nope: module json has no nope"),
        ({"preprocess": ":f"}, "preprocess=:f: expected module:function"),
        ({"preprocess": "..app:f"}, "preprocess=..app:f: expected module:function"),
        ({"preprocess": "os:environ"}, "preprocess=os:environ: this is a _Environ; expected a function"),
        ({"calibration": "broken_app:f"}, r"broken_app is there, but its import fails: SyntaxError.* line 1"),
        ({"calibration": "ending_app:f"}, r"ending_app is there, but its import fails: SystemExit: 3 .* line 1"),
    ],
)
def test_what_needs_no_tensorflow_is_refused_before_it_is_imported(files, tmp_path, monkeypatch, settings, message):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_app.py").write_text("x = (")
    (tmp_path / "ending_app.py").write_text("raise SystemExit(3)")
    (tmp_path / "a.tflite").write_bytes(files.int8)
    with pytest.raises(QatError, match=message):
        read_jobs(DiagnoseConfig(**{"tflite": str(tmp_path / "a.tflite"), **settings}))


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (DataError.about("fed", ": dtype float32"), "user.fed: dtype float32"),
        (DataError.about("keras_model", " has inputs"), "keras has inputs"),
        (DataError.about("inputs", ": a sample"), "data: a sample"),
        (DataError.about("labels", " have dtype"), "labels have dtype"),
        (DataError("inputs.tflite: damaged"), "inputs.tflite: damaged"),
        (DataError("inputs: no argument, if nobody says so"), "inputs: no argument, if nobody says so"),
    ],
)
def test_a_refusal_names_the_key_that_was_typed(error, shown):
    with pytest.raises(DataError, match=f"^{shown}$"), _naming_keys():
        raise error


def test_what_cannot_be_told_exits_with_3(files, digits, tmp_path):
    np.savez(tmp_path / "test.npz", inputs=digits.inputs, labels=digits.labels)
    (tmp_path / "model.tflite").write_bytes(files.wide)
    (tmp_path / "my_app.py").write_text("def scale(raw):\n    return raw.astype('float32') / 255\n")
    arguments = [f"tflite={tmp_path / 'model.tflite'}", f"data={tmp_path / 'test.npz'}", "preprocess=my_app:scale"]
    command = [sys.executable, "-m", "qat.diagnose", *arguments, f"hydra.run.dir={tmp_path / 'out'}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)
    assert ended.returncode == 3, ended.stderr
    assert "cannot be told apart without the Keras model" in " ".join(ended.stdout.split())
    assert json.loads((tmp_path / "out" / "diagnosis.json").read_text())["blame"] == "undetermined"


def test_a_truncated_file_exits_with_2(files, tmp_path):
    (tmp_path / "cut.tflite").write_bytes(files.int8[:3000])
    ended = run(tmp_path / "out", f"tflite={tmp_path / 'cut.tflite'}")
    assert ended.returncode == 2
    assert "damaged TFLite file" in ended.stderr
