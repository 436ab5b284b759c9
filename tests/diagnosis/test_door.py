"""The command: exit codes, files written, words for a person."""

import json
import subprocess
import sys

import pytest


def run(folder, *arguments):
    command = [sys.executable, "-m", "qat.diagnose", *arguments, f"hydra.run.dir={folder}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


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
