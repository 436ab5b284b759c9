"""Strangers' files: what crashes, hangs or eats memory does so in a child process, and becomes an error here."""

import numpy as np
import pytest

from qat.errors import TfliteFileError
from qat.tflite import Interpreter, check_loadable, convert, sandbox
from qat.tflite.sandbox import is_trusted

from . import planting


@pytest.fixture
def forgetful(monkeypatch):
    """Nothing is known to be good."""
    monkeypatch.setattr(sandbox, "_known_good", set())


@pytest.mark.usefixtures("forgetful")
def test_a_good_file_of_a_stranger_is_checked_once(files):
    assert not is_trusted(files.int8)
    check_loadable(files.int8)
    assert is_trusted(files.int8)


@pytest.mark.usefixtures("forgetful")
def test_token_ids_of_a_small_vocabulary_are_no_reason_to_refuse():
    import tf_keras

    tokens = tf_keras.Input((6,), dtype="int32")
    content = convert(tf_keras.Model(tokens, tf_keras.layers.Embedding(3, 2)(tokens)), scheme="float32")
    sandbox._known_good.clear()
    check_loadable(content)
    assert is_trusted(content)


def test_a_file_made_here_needs_no_child(files, monkeypatch):
    monkeypatch.setattr(sandbox.subprocess, "run", None)
    assert Interpreter(files.int8).graph.ops


@pytest.mark.usefixtures("forgetful")
def test_an_unknown_file_by_path_goes_through_the_child(files, tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(files.int8)
    started, run = [], sandbox.subprocess.run
    monkeypatch.setattr(sandbox.subprocess, "run", lambda *a, **k: started.append(a) or run(*a, **k))
    assert Interpreter(path).predict(np.zeros((2, 16, 16, 3), np.float32)).shape == (2, 5)
    assert len(started) == 1


def test_an_op_that_the_runtime_does_not_know_is_told(files):
    with pytest.raises(TfliteFileError, match=r"refuses this file: .*NoSuchOp"):
        check_loadable(planting.with_custom_op(files.int8, "NoSuchOp"))


@pytest.mark.parametrize("signal", ["SIGSEGV", "SIGABRT"])
def test_a_crash_of_the_child_is_told_by_its_signal(signal, files, monkeypatch, tmp_path):
    child = tmp_path / "child.py"
    child.write_text(f"import os, signal; os.kill(os.getpid(), signal.{signal})")
    monkeypatch.setattr(sandbox, "_CHILD", child)
    with pytest.raises(TfliteFileError, match=rf"crashes the TFLite runtime \({signal}"):
        check_loadable(files.int8, check_known=True)


def test_a_child_that_hangs_is_stopped(files, monkeypatch, tmp_path):
    child = tmp_path / "child.py"
    child.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(sandbox, "_CHILD", child)
    with pytest.raises(TfliteFileError, match="took more than 1 s"):
        check_loadable(files.int8, seconds=1, check_known=True)


def test_a_child_that_wants_too_much_memory_is_refused(files):
    with pytest.raises(TfliteFileError):
        check_loadable(files.int8, memory_bytes=40 << 20, check_known=True)


def test_a_tensor_of_absurd_size_is_refused(files):
    def edit(model):
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].shape = np.array([1, 60000, 60000, 3], np.int32)
        graph.tensors[graph.inputs[0]].shapeSignature = None

    with pytest.raises(TfliteFileError):
        check_loadable(planting.edited(files.int8, edit), seconds=30)


def test_mutated_files_load_or_are_refused(files):
    rng = np.random.default_rng(5)
    outcomes = []
    for _ in range(12):
        try:
            check_loadable(planting.mutated(files.int8, rng), seconds=20)
            outcomes.append("loaded")
        except TfliteFileError:
            outcomes.append("refused")
    assert len(outcomes) == 12
    assert "refused" in outcomes
