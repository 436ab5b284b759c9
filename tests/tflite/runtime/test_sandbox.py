"""Strangers' files: what crashes, hangs or eats memory does so in a child process, and becomes an error here."""

import os
import signal

import numpy as np
import pytest

from qat.errors import TfliteFileError
from qat.limits import Limits, use
from qat.tflite import Interpreter, check_loadable, convert, read, trusted_files
from qat.tflite.runtime import pool, sandbox
from qat.tflite.runtime.child_process import RemoteRuntime
from qat.tflite.runtime.sandbox import is_checked
from qat.tflite.trusted_files import is_trusted

from .. import planting


@pytest.fixture
def forgetful(monkeypatch):
    """Nothing is known to be good."""
    monkeypatch.setattr(trusted_files, "_digests", set())
    monkeypatch.setattr(sandbox, "_checked_digests", set())


@pytest.mark.usefixtures("forgetful")
def test_a_good_untrusted_file_is_checked_once(files):
    assert not is_checked(files.int8)
    check_loadable(files.int8)
    assert is_checked(files.int8)
    assert not is_trusted(files.int8)


@pytest.mark.usefixtures("forgetful")
def test_token_ids_of_a_small_vocabulary_are_no_reason_to_refuse():
    import tf_keras

    tokens = tf_keras.Input((6,), dtype="int32")
    content = convert(tf_keras.Model(tokens, tf_keras.layers.Embedding(3, 2)(tokens)), scheme="float32")
    trusted_files._digests.clear()
    check_loadable(content)
    assert is_checked(content)


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
    (tmp_path / "slow.tflite").write_bytes(files.int8)
    with pytest.raises(TfliteFileError, match=r"slow\.tflite: loading this file took more than 1 s"):
        check_loadable(tmp_path / "slow.tflite", seconds=1, check_known=True)


def test_a_child_that_wants_too_much_memory_is_refused(files):
    with pytest.raises(TfliteFileError):
        check_loadable(files.int8, memory_bytes=1 << 20, check_known=True)


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


@pytest.mark.usefixtures("forgetful")
def test_an_untrusted_file_is_run_in_the_child_with_every_batch_and_gives_the_same(files, monkeypatch):
    samples = np.random.default_rng(0).integers(-100, 100, (403, 16, 16, 3)).astype(np.int8)
    expected = Interpreter(files.int8, trusted=True).predict_codes(samples)
    interpreter = Interpreter(files.int8)
    assert isinstance(interpreter._runtime, RemoteRuntime)
    monkeypatch.setattr(pool, "Session", None)  # the file is not loaded here
    np.testing.assert_array_equal(interpreter.predict_codes(samples), expected)
    assert interpreter.predict_codes(samples[:0]).shape == (0, 5)
    assert interpreter.tensors(np.ones((3, 16, 16, 3), np.float32)).keys() >= {"image"}


@pytest.mark.usefixtures("forgetful")
def test_a_child_that_dies_while_it_runs_a_file_is_an_error_and_the_next_one_is_a_new_child(files):
    interpreter = Interpreter(files.int8)
    samples = np.zeros((5, 16, 16, 3), np.int8)
    os.kill(interpreter._runtime._child._process.pid, signal.SIGSEGV)
    with pytest.raises(TfliteFileError, match=r"run in a child process: it crashes the TFLite runtime \(SIGSEGV"):
        interpreter.predict_codes(samples)
    assert Interpreter(files.int8).predict_codes(samples).shape == (5, 5)


@pytest.mark.usefixtures("forgetful")
def test_a_child_that_does_not_answer_in_time_is_stopped(files):
    with use(Limits(seconds=2)):
        interpreter = Interpreter(files.int8)
    os.kill(interpreter._runtime._child._process.pid, signal.SIGSTOP)
    with pytest.raises(TfliteFileError, match=r"did not answer within limits.seconds=2 and was stopped"):
        interpreter.predict_codes(np.zeros((5, 16, 16, 3), np.int8))


@pytest.mark.medium
@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("reply", [b"[]\n", b"x\n", b'{"arrays": [["O", [3]]]}\n', b'{"arrays": [["f4", [-1]]]}\n',
                                  b'{"arrays": [["f4", [99999999999]]]}\n', b'{"arrays": [3]}\n'])  # fmt: skip
def test_what_a_child_answers_is_not_believed(files, reply):
    interpreter = Interpreter(files.int8)
    child = interpreter._runtime._child
    reader, writer = os.pipe()
    os.write(writer, reply)
    child._process.stdout.close()
    child._process.stdout = os.fdopen(reader, "rb")
    with pytest.raises(TfliteFileError, match="run in a child process"):
        interpreter.predict_codes(np.zeros((5, 16, 16, 3), np.int8))
    os.close(writer)


def test_types_that_no_kernel_writes_are_refused_when_the_file_is_read(files):
    def as_uint8(model):
        graph = model.subgraphs[0]
        graph.tensors[graph.outputs[0]].type = 3  # of the softmax, which writes floats

    with pytest.raises(TfliteFileError, match=r"SOFTMAX.*reads float32 and cannot write uint8"):
        read(planting.edited(files.float32, as_uint8))
