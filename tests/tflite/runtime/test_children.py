"""What a child process does with a file, here in this one: what it is fed, how it answers, what it refuses."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from qat.errors import TfliteFileError
from qat.tflite import read
from qat.tflite.benchmark import timing_child
from qat.tflite.runtime import runtime_child, sandbox_child
from qat.tflite.runtime.session import Session, translate_errors


def test_a_session_runs_any_batch_and_says_what_the_runtime_refuses(files):
    session = Session(files.int8, read(files.int8), threads=1)
    rows = np.random.default_rng(0).integers(-128, 128, (5, 16, 16, 3)).astype(np.int8)
    (whole,) = session.invoke([rows])
    assert np.array_equal(whole[2:4], session.invoke([rows[2:4]])[0])
    with pytest.raises(TfliteFileError, match="the TFLite runtime refuses these inputs"):
        session.invoke([rows.astype(np.float32)])


def test_errors_of_the_runtime_are_those_of_a_file():
    with pytest.raises(TfliteFileError, match="refuses this file: no such op"), translate_errors("this file"):
        raise RuntimeError("no  such\nop")
    with pytest.raises(KeyError), translate_errors("this file"):
        raise KeyError("ours")


def test_a_message_is_a_line_and_the_bytes_of_its_arrays():
    pipe, arrays = io.BytesIO(), [np.arange(3, dtype=np.int8), np.ones((2, 1), np.float32)]
    runtime_child.send(pipe, {"do": "run"}, arrays, b"rest")
    line, rest = pipe.getvalue().split(b"\n", 1)
    assert json.loads(line) == {"do": "run", "arrays": [["int8", [3]], ["float32", [2, 1]]]}
    assert rest == arrays[0].tobytes() + arrays[1].tobytes() + b"rest"


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("int8", -128, 127), ("uint8", 0, 255), ("float32", 0, 1), ("int32", 0, 0)]
)
def test_a_timed_file_is_fed_any_code_and_ids_that_every_vocabulary_holds(dtype, low, high):
    values = timing_child._values(np.random.default_rng(0), (1000,), dtype)
    assert values.dtype == dtype
    assert low <= values.min() <= values.max() <= high


def test_a_timed_file_runs_at_the_batch_asked_for_and_at_least_once(files):
    model = timing_child.Model(files.int8, threads=1, delegate=True, batch=4)
    assert len(model.run(seconds=0)) == 1
    assert model._litert.get_input_details()[0]["shape"].tolist() == [4, 16, 16, 3]


@pytest.mark.parametrize(("content", "code"), [(None, 0), (b"TFL3 is no file", sandbox_child.REFUSED)])
def test_the_sandbox_answers_by_its_exit_code(files, content, code):
    command = [sys.executable, "-m", sandbox_child.__name__, "", str(4 << 30), "60", "2"]
    done = subprocess.run(command, input=content or files.int8, capture_output=True, timeout=120)
    assert done.returncode == code, done.stderr
