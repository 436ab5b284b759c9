"""What cannot be shown any more ends no command, and changes no exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qat.cli.lasting_output import LastingStream
from qat.tflite import with_metadata
from qat.tflite.benchmark.single_ops import tiny_model


@pytest.mark.medium
@pytest.mark.parametrize(
    ("where", "said"),
    [
        (">/dev/full", "qat: warning: nothing more can be shown here (No space left on device)\n"),
        (">&-", ""),
        (">&- <&-", ""),
        ("| true; exit ${PIPESTATUS[0]}", ""),
    ],
)
def test_a_command_ends_as_it_would_have(where, said, tmp_path):
    (tmp_path / "tiny.tflite").write_bytes(with_metadata(tiny_model()))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = f"{sys.executable} -m qat.verify tflite=tiny.tflite {where}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # a float file
    assert done.stderr.startswith(said)
    assert "tiny.tflite is not integer-only" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_of_commands_ends_so_too():
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = f"{sys.executable} -m qat >/dev/full"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        0,
        "qat: warning: nothing more can be shown here (No space left on device)\n",
    )


def test_a_stream_that_nobody_reads_goes_silent():
    read, written = os.pipe()
    os.close(read)
    with os.fdopen(written, "w") as pipe:
        stream = LastingStream(pipe)
        print("text " * 10_000, file=stream, flush=True)
        print("more", file=stream, flush=True)
        assert not stream.isatty()
