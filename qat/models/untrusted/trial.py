"""Let the child process read an untrusted model; it returns numbers and a config, which is checked again here."""

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
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from qat.errors import ModelError
from qat.limits import MB, Limits, check_regular, check_size, current
from qat.models.untrusted.check_config import validate_config
from qat.models.untrusted.decode import DecodedModel

START_SECONDS = 300  # for TensorFlow's import, on a machine that is busy with other things
_START = "import sys; sys.path[:] = sys.argv[2:]; import runpy; "
_START += "runpy.run_module('qat.models.untrusted.child', run_name='__main__')"
_lock = threading.Lock()
_server: _Server | None = None


class NotTrustedError(ModelError):
    """The model names what is not on the list. `custom`: names of classes and functions that only the file defines."""

    def __init__(self, message: str, custom: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.custom = custom


class KerasRefusesError(ModelError):
    """Keras cannot make the model that the config describes."""


def start_early() -> None:
    """Let the child import TensorFlow while this process does something else."""
    with _lock:
        _get_server()


def read_untrusted(path: Path, own: Mapping[str, frozenset[str]]) -> DecodedModel:
    """Read a .keras or .h5 file in the child process, which also makes the model once.

    Args:
        path: path of the file.
        own: names that this process has given to Keras, by its major version, "2" or "3"; a model that uses one is
            read, and not made.

    Returns:
        Config, which is checked, arrays of the stored shapes and dtypes by path, and vocabularies.

    Raises:
        NotTrustedError: it names what is not on the list.
        KerasRefusesError: Keras cannot make it.
        ModelError: it is damaged, too large, or takes more memory or time than `limits` allow.
    """
    limits = current()
    with _open(path) as file, _lock:
        memory_bytes = max(limits.memory_mb * MB, 6 * os.fstat(file.fileno()).st_size)
        request = {
            "own": {version: sorted(names) for version, names in own.items()},
            "limits": asdict(limits),
            "memory_bytes": memory_bytes,
        }
        server = _get_server()
        try:
            header, body, ended = server.ask(request, file, limits)
        except OSError:
            raise ModelError("the child process that reads models ended; try again") from None
    return _to_decoded(header, body, ended, limits, memory_bytes, own)


def _open(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    check_regular("", os.fstat(descriptor), "file_mb", ModelError)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ModelError("no regular file")
    return file


def _to_decoded(
    header: bytes,
    body: bytes,
    ended: dict[str, Any],
    limits: Limits,
    memory_bytes: int,
    own: Mapping[str, frozenset[str]],
) -> DecodedModel:
    try:
        answer = json.loads(header) if header else {}
    except (ValueError, RecursionError):
        answer = {}
    if answer.get("how") == "memory" or (ended["code"] < 0 and not ended["late"]) or (not answer and not ended["late"]):
        cause = signal.Signals(-ended["code"]).name if ended["code"] < 0 else "out of memory"
        if cause == "SIGXCPU":
            ended["late"] = True
        else:
            raise ModelError(
                "reading it, making the model or running it once takes more than "
                f"{memory_bytes / MB:,.0f} MB or ends the process ({cause}, tried in a child process). If you know "
                f"what it is, set limits.memory_mb higher than {limits.memory_mb}"
            )
    if ended["late"]:
        raise ModelError(
            f"reading it, making the model or running it once takes more than limits.seconds={limits.seconds} and was "
            "stopped (in a child process). If you know what it is, set limits.seconds higher"
        )
    if "refused" in answer:
        raise _refusal(answer)
    decoded = DecodedModel(
        str(answer["kind"]), str(answer["keras_version"]), answer["config"], {}, dict(answer["names"])
    )
    if decoded.config is not None:
        decoded.config = validate_config(
            decoded.config, own[decoded.keras_major]
        )  # what a child sends is untrusted as well
    _fill_arrays(decoded, answer, body)
    return decoded


def _fill_arrays(decoded: DecodedModel, answer: dict[str, Any], body: bytes) -> None:
    start = 0
    for name, dtype, shape in answer["arrays"]:
        kind = np.dtype(dtype)
        size = prod(shape) * kind.itemsize
        if kind.kind not in "fiub" or start + size > len(body):
            raise ModelError("its weights did not come whole through the child process")
        decoded.arrays[name] = np.frombuffer(body, kind, prod(shape), start).reshape(shape)
        start += size
    for name, size in answer["assets"]:
        decoded.assets[name] = body[start : start + size]
        start += size


def _refusal(answer: dict[str, Any]) -> ModelError:
    text = str(answer["refused"])
    if answer.get("how") == "not_allowed":
        return NotTrustedError(text, tuple(answer.get("custom", ())))
    if answer.get("how") == "keras":
        return KerasRefusesError(text)
    return ModelError(text)


class _Server:
    """The child process: started, and ready once TensorFlow is imported."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "",
            "OPENBLAS_NUM_THREADS": "1",
        }
        environment |= {"TF_USE_LEGACY_KERAS": "1", "KERAS_BACKEND": "tensorflow"}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        child_descriptor = os.dup(theirs.fileno())
        command = [
            sys.executable,
            "-c",
            _START,
            str(child_descriptor),
            *(entry or str(Path.cwd()) for entry in sys.path),
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            pass_fds=(child_descriptor,),
            start_new_session=True,
        )
        theirs.close()
        os.close(child_descriptor)
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

    def ask(self, request: dict[str, Any], file: BinaryIO, limits: Limits) -> tuple[bytes, bytes, dict[str, Any]]:
        """Send a request and wait for its answer; after any error the process is ended.

        Args:
            request: what the child needs, as JSON values: name, own, limits and memory_bytes.
            file: the saved model, open in binary mode.
            limits: `memory_mb` bounds the answer, `seconds` the time to wait for it.

        Returns:
            The line of JSON, the bytes after it, and how the fork ended: its exit "code", and whether it was "late".

        Raises:
            OSError: the process ended, or does not answer.
        """
        try:
            return self._send(request, file, limits)
        except BaseException:
            self.end()
            raise

    def _send(self, request: dict[str, Any], file: BinaryIO, limits: Limits) -> tuple[bytes, bytes, dict[str, Any]]:
        self._wait_until_ready()
        source, sink = os.pipe()
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], [file.fileno(), sink])
        finally:
            os.close(sink)
        max_bytes = limits.file_mb * MB + 2 * limits.text_mb * MB
        with os.fdopen(source, "rb") as pipe:
            content = _read_all(pipe, max_bytes, limits.seconds + 30)
        ended = json.loads(self._read_line(30))
        header, _, body = content.partition(b"\n")
        return header, body, ended

    def _wait_until_ready(self) -> None:
        if not self._ready:
            if self._read_line(START_SECONDS) != b"ready":
                raise ConnectionError("it did not start")
            self._ready = True

    def _read_line(self, seconds: float) -> bytes:
        decoded, end = b"", time.monotonic() + seconds
        while not decoded.endswith(b"\n"):
            if not select.select([self._control], [], [], max(end - time.monotonic(), 0))[0]:
                raise ConnectionError("it does not answer")
            part = self._control.recv(1)
            if not part:
                raise ConnectionError("it ended")
            decoded += part
        return decoded.strip()


def _read_all(pipe: BinaryIO, max_bytes: int, seconds: float) -> bytes:
    """Read until the other side closes; an answer of more than `max_bytes` bytes is refused."""
    parts, total, end = [], 0, time.monotonic() + seconds
    while select.select([pipe], [], [], max(end - time.monotonic(), 0))[0]:
        part = os.read(pipe.fileno(), 1 << 20)
        if not part:
            return b"".join(parts)
        total += len(part)
        if total > max_bytes:
            check_size("what the child process sends", total, "file_mb", ModelError)
            return b""
        parts.append(part)
    raise ConnectionError("it does not end")


def _get_server() -> _Server:
    global _server
    if _server is None or not _server.alive:
        if _server is None:
            atexit.register(_end)
        _server = _Server()
    return _server


def _end() -> None:
    if _server is not None:
        _server.end()
