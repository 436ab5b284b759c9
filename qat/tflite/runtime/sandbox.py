"""Load an untrusted file in a child process first, with limits of time and memory: a crash there is an error here."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

from qat.errors import TfliteFileError
from qat.limits import MB, current
from qat.tflite.reader import name_file, read, read_bytes
from qat.tflite.runtime.sandbox_child import REFUSED
from qat.tflite.trusted_files import is_trusted

_CHILD = Path(__file__).with_name("sandbox_child.py")
_START = "import runpy, sys; sys.path[:] = sys.argv[5:]; runpy.run_path(sys.argv[1], run_name='__main__')"
SEVERAL = 3  # samples of the second trial; a file with resource variables is never resized
_checked_digests: set[bytes] = set()  # digests of files that a child process has loaded


def is_checked(content: bytes) -> bool:
    """Whether a file with exactly these bytes is trusted, or has passed `check_loadable` before."""
    return is_trusted(content) or hashlib.sha256(content).digest() in _checked_digests


def check_loadable(
    model: bytes | str | Path, *, seconds: int | None = None, memory_bytes: int | None = None, check_known: bool = False
) -> None:
    """Parse a file, then load it and run it once in a child process.

    Args:
        model: bytes of the file, or its path.
        seconds: seconds of processor time and of wall time that the child may take; None takes limits.seconds.
        memory_bytes: bytes of address space that the child may take, raised to eight times the file's size; None takes
            limits.memory_mb.
        check_known: whether to check a trusted file, or one that was checked before, as well.

    Raises:
        TfliteFileError: it is no usable file; the message says whether it was refused, crashed or hung.
    """
    content = read_bytes(model)
    if is_checked(content) and not check_known:
        return
    with name_file(model):
        _try_in_child(content, seconds, memory_bytes)
    _checked_digests.add(hashlib.sha256(content).digest())


def _try_in_child(content: bytes, seconds: int | None, memory_bytes: int | None) -> None:
    graph = read(content)
    seconds = seconds or current().seconds
    memory_bytes = memory_bytes or current().memory_mb * MB
    limits = [str(max(memory_bytes, 8 * len(content))), str(seconds), str(1 if graph.keeps_resources else SEVERAL)]
    command = [sys.executable, "-c", _START, str(_CHILD), *limits, *sys.path]
    try:
        process = subprocess.run(command, input=content, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise TfliteFileError(f"loading this file took more than {seconds} s and was stopped; do not use it") from None
    if process.returncode != 0:
        raise TfliteFileError(_describe_failure(process, seconds, int(limits[0])))


def _describe_failure(process: subprocess.CompletedProcess, seconds: int, memory_bytes: int) -> str:
    if process.returncode == REFUSED:
        return f"the TFLite runtime refuses this file: {process.stdout.decode(errors='replace').strip()}"
    last_line = (process.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        limits = f"limits: {seconds} s, {memory_bytes >> 20} MB"
        return f"this file crashes the TFLite runtime ({name}; {limits}), tried in a child process. {last_line}".strip()
    return f"loading this file failed in a child process (exit code {process.returncode}): {last_line}"
