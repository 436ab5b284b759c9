"""Load a stranger's file in a child process first, under a time and a memory limit: a crash there is an error here."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

from qat.errors import TfliteFileError
from qat.limits import MB, current
from qat.tflite.reader import read, read_bytes
from qat.tflite.runtime.sandbox_child import REFUSED
from qat.tflite.trusted_files import is_trusted

_CHILD = Path(__file__).with_name("sandbox_child.py")
_START = "import runpy, sys; sys.path[:] = sys.argv[5:]; runpy.run_path(sys.argv[1], run_name='__main__')"
SEVERAL = 3  # samples of the second trial; a file with resource variables is never resized
_checked: set[bytes] = set()  # digests of files that a child process has loaded


def is_checked(content: bytes) -> bool:
    """Whether this very file was made here, or came through `check_loadable` before."""
    return is_trusted(content) or hashlib.sha256(content).digest() in _checked


def check_loadable(
    model: bytes | str | Path,
    *,
    seconds: int | None = None,
    memory_bytes: int | None = None,
    check_known: bool = False,
) -> None:
    """Parse a file, then load it and run it once in a child process.

    Args:
        model: the file's bytes, or its path.
        seconds: time limit of the child, both of its processor and of the clock; by default limits.seconds.
        memory_bytes: the child's address space, by default limits.memory_mb; raised to eight times the file's size.
        check_known: check also a file that was made or checked in this process already.

    Raises:
        TfliteFileError: it is no usable file; the text says whether it was refused, crashed or hung.
    """
    content = read_bytes(model)
    if is_checked(content) and not check_known:
        return
    graph = read(content)
    seconds = seconds or current().seconds
    memory_bytes = memory_bytes or current().memory_mb * MB
    limits = [str(max(memory_bytes, 8 * len(content))), str(seconds), str(1 if graph.keeps_resources else SEVERAL)]
    command = [sys.executable, "-c", _START, str(_CHILD), *limits, *sys.path]
    try:
        ended = subprocess.run(command, input=content, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise TfliteFileError(f"loading this file took more than {seconds} s and was stopped; do not use it") from None
    if ended.returncode != 0:
        raise TfliteFileError(_reason(ended, seconds, int(limits[0])))
    _checked.add(hashlib.sha256(content).digest())


def _reason(ended: subprocess.CompletedProcess, seconds: int, memory_bytes: int) -> str:
    if ended.returncode == REFUSED:
        return f"the TFLite runtime refuses this file: {ended.stdout.decode(errors='replace').strip()}"
    last_line = (ended.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        limits = f"limits: {seconds} s, {memory_bytes >> 20} MB"
        return f"this file crashes the TFLite runtime ({name}; {limits}), tried in a child process. {last_line}".strip()
    return f"loading this file failed in a child process (exit code {ended.returncode}): {last_line}"
