"""Ask the child process to read a model; what comes back is plain numbers and a config that was checked."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from qat.errors import ModelError
from qat.limits import MB, Limits, check_regular, check_size, current
from qat.models.untrusted.check_config import checked
from qat.models.untrusted.decode import Decoded

START_SECONDS = 300  # for TensorFlow's import, on a machine that is busy with other things
_START = "import sys; sys.path[:] = sys.argv[2:]; import runpy; "
_START += "runpy.run_module('qat.models.untrusted.child', run_name='__main__')"
_lock = threading.Lock()
_server: _Server | None = None


class NotTrustedError(ModelError):
    """The model names what is not on the list. `custom` has the classes and functions that are the file's own."""

    def __init__(self, message: str, custom: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.custom = custom


class KerasRefusesError(ModelError):
    """Keras cannot make the model that the config describes."""


def start_early() -> None:
    """Let the child import TensorFlow while this process does something else."""
    with _lock:
        _running()


def read_untrusted(path: Path, own: frozenset[str]) -> Decoded:
    """Config, arrays and vocabularies of a .keras or .h5 file, read and tried in the child process.

    Args:
        path: the file.
        own: names that this process has given to Keras; a model that uses one is read, and not tried.

    Raises:
        NotTrustedError: it names what is not on the list.
        KerasRefusesError: Keras cannot make it.
        ModelError: it is damaged, too large, or takes more memory or time than `limits` allow.
    """
    limits = current()
    with _opened(path) as file, _lock:
        memory_bytes = max(limits.memory_mb * MB, 6 * os.fstat(file.fileno()).st_size)
        told = {
            "name": f"model.path={path}",
            "own": sorted(own),
            "limits": asdict(limits),
            "memory_bytes": memory_bytes,
        }
        server = _running()
        try:
            header, body, ended = server.ask(told, file, limits)
        except OSError:
            raise ModelError(f"model.path={path}: the child process that reads models ended; try again") from None
    return _answer(path, header, body, ended, limits, memory_bytes, own)


def _opened(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    check_regular(f"model.path={path}", os.fstat(descriptor), "file_mb", ModelError)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ModelError(f"model.path={path}: no regular file")
    return file


def _answer(
    path: Path,
    header: bytes,
    body: bytes,
    ended: dict[str, Any],
    limits: Limits,
    memory_bytes: int,
    own: frozenset[str],
) -> Decoded:
    try:
        plain = json.loads(header) if header else {}
    except ValueError:
        plain = {}
    if plain.get("how") == "memory" or (ended["code"] < 0 and not ended["late"]) or (not plain and not ended["late"]):
        cause = signal.Signals(-ended["code"]).name if ended["code"] < 0 else "out of memory"
        if cause == "SIGXCPU":
            ended["late"] = True
        else:
            raise ModelError(
                f"model.path={path}: reading it, or making the model, takes more than {memory_bytes / MB:,.0f} MB or "
                f"ends the process ({cause}, tried in a child process). If you know what it is, set limits.memory_mb "
                f"higher than {limits.memory_mb}"
            )
    if ended["late"]:
        raise ModelError(
            f"model.path={path}: reading it, or making the model, takes more than limits.seconds={limits.seconds} and "
            "was stopped (in a child process). If you know what it is, set limits.seconds higher"
        )
    if "refused" in plain:
        raise _refusal(path, plain)
    found = Decoded(str(plain["kind"]), str(plain["keras_version"]), plain["config"], {}, dict(plain["names"]))
    if found.config is not None:
        found.config = checked(found.config, own)  # what a child sends is a stranger's as well
    _fill(found, plain, body, path)
    return found


def _fill(found: Decoded, plain: dict[str, Any], body: bytes, path: Path) -> None:
    start = 0
    for name, dtype, shape in plain["arrays"]:
        kind = np.dtype(dtype)
        size = prod(shape) * kind.itemsize
        if kind.kind not in "fiub" or start + size > len(body):
            raise ModelError(f"model.path={path}: its weights did not come whole through the child process")
        found.arrays[name] = np.frombuffer(body, kind, prod(shape), start).reshape(shape)
        start += size
    for name, size in plain["assets"]:
        found.assets[name] = body[start : start + size]
        start += size


def _refusal(path: Path, plain: dict[str, Any]) -> ModelError:
    text = str(plain["refused"])
    if plain.get("how") == "not_allowed":
        return NotTrustedError(text, tuple(plain.get("custom", ())))
    if plain.get("how") == "keras":
        return KerasRefusesError(text)
    return ModelError(text)


class _Server:
    """The child process, started, and ready or about to be."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            "OPENBLAS_NUM_THREADS": "1",
        }
        environment |= {"TF_USE_LEGACY_KERAS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        moved = os.dup(theirs.fileno())
        command = [sys.executable, "-c", _START, str(moved), *(entry or str(Path.cwd()) for entry in sys.path)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            pass_fds=(moved,),
            start_new_session=True,
        )
        theirs.close()
        os.close(moved)
        self._control = ours
        self._ready = False

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        self._control.close()
        with suppress(OSError):
            self._process.kill()
        self._process.wait()

    def ask(self, told: dict[str, Any], file: BinaryIO, limits: Limits) -> tuple[bytes, bytes, dict[str, Any]]:
        """The line, the bytes after it, and how the fork ended. After any error the process is of no more use."""
        try:
            return self._asked(told, file, limits)
        except BaseException:
            self.end()
            raise

    def _asked(self, told: dict[str, Any], file: BinaryIO, limits: Limits) -> tuple[bytes, bytes, dict[str, Any]]:
        self._wait_until_ready()
        source, sink = os.pipe()
        try:
            socket.send_fds(self._control, [json.dumps(told).encode()], [file.fileno(), sink])
        finally:
            os.close(sink)
        most = limits.file_mb * MB + 2 * limits.text_mb * MB
        with os.fdopen(source, "rb") as pipe:
            content = _all_of(pipe, most, limits.seconds + 30)
        ended = json.loads(self._line(30))
        header, _, body = content.partition(b"\n")
        return header, body, ended

    def _wait_until_ready(self) -> None:
        if not self._ready:
            if self._line(START_SECONDS) != b"ready":
                raise ConnectionError("it did not start")
            self._ready = True

    def _line(self, seconds: float) -> bytes:
        found, end = b"", time.monotonic() + seconds
        while not found.endswith(b"\n"):
            if not select.select([self._control], [], [], max(end - time.monotonic(), 0))[0]:
                raise ConnectionError("it does not answer")
            part = self._control.recv(1)
            if not part:
                raise ConnectionError("it ended")
            found += part
        return found.strip()


def _all_of(pipe: BinaryIO, most: int, seconds: float) -> bytes:
    """Until the other side closes. More than `most` bytes are not kept."""
    parts, total, end = [], 0, time.monotonic() + seconds
    while select.select([pipe], [], [], max(end - time.monotonic(), 0))[0]:
        part = os.read(pipe.fileno(), 1 << 20)
        if not part:
            return b"".join(parts)
        total += len(part)
        if total > most:
            check_size("what the child process sends", total, "file_mb", ModelError)
            return b""
        parts.append(part)
    raise ConnectionError("it does not end")


def _running() -> _Server:
    global _server
    if _server is None or not _server.alive:
        if _server is None:
            atexit.register(_end)
        _server = _Server()
    return _server


def _end() -> None:
    if _server is not None:
        _server.end()
