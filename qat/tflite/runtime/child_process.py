"""Run an untrusted `.tflite` in a child process: every call, for every input shape."""

from __future__ import annotations

import hashlib
import json
import math
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.errors import TfliteFileError
from qat.limits import MB, count_cores, current
from qat.process_limits import describe_exit
from qat.tflite.graph import TfliteGraph
from qat.tflite.runtime.pool import ArrayFunction, Arrays, Runtime, concatenate, unchanged
from qat.tflite.runtime.quiet import VERBOSE
from qat.tflite.runtime.runtime_child import PLAIN_KINDS, send
from qat.tflite.trusted_files import is_trusted

SLICE_SAMPLES = 200  # per thread: two of the largest batches
SLICE_BYTES = 64 << 20  # of inputs, or of all activations of the samples together
_START = "import sys; sys.path[:] = sys.argv[1:]; "
_START += "from qat.tflite.runtime.runtime_child import main; main()"
_children: weakref.WeakValueDictionary[bytes, _Child] = weakref.WeakValueDictionary()


def make_runtime(
    content: bytes, graph: TfliteGraph, threads: int | None = None, **options: bool
) -> Runtime | RemoteRuntime:
    """Load a file: a trusted one in this process, any other in a child process.

    Args:
        content: bytes of the .tflite file.
        graph: what `read` returned for the same bytes.
        threads: number of threads; None takes every core.
        options: `delegate`, `reference_kernels`, `keep_tensors`, as `Runtime` takes them.

    Returns:
        A `Runtime` for a trusted file, a `RemoteRuntime` for any other; both have `batch_size`, `run` and `tensors`.

    Raises:
        TfliteFileError: the runtime refuses the file.
    """
    if is_trusted(content):
        return Runtime(content, graph, threads, **options)
    return RemoteRuntime(content, graph, threads, **options)


class RemoteRuntime:
    """As `Runtime`, in a child process that cannot write files and has limits of memory and of time per answer.

    Every method raises TfliteFileError if the runtime refuses the file or the inputs, crashes, or does not answer in
    time.

    Args:
        content: the bytes of the file.
        graph: what `read` returned for the same bytes.
        threads: number of threads; None takes every core.
        options: `delegate`, `reference_kernels`, `keep_tensors`, as `Runtime` takes them.
    """

    def __init__(self, content: bytes, graph: TfliteGraph, threads: int | None = None, **options: bool) -> None:
        self.graph = graph
        self._threads = threads or count_cores()
        self._child = _child_of(content)
        command = {"do": "load", "options": {**options, "threads": self._threads}}
        self._number = int(self._child.ask(command)[0]["number"])

    @cached_property
    def batch_size(self) -> int:
        """How many samples one call computes at most."""
        return int(self._ask("batch_size")[0]["batch_size"])

    def run(self, inputs: Arrays, before: ArrayFunction = unchanged, after: ArrayFunction = unchanged) -> Arrays:
        """Run all samples, as `Runtime.run`.

        Args:
            inputs: one array [N, ...] per input, in the file's order.
            before: function that turns a slice of `inputs` into arrays [n, ...] of the file's dtypes. Runs in this
                process.
            after: function that turns a slice of outputs, of the file's dtypes, into what is returned. Runs in this
                process.

        Returns:
            One array [N, ...] per output, in the file's order; of the file's dtypes unless `after` changes them.

        Raises:
            TfliteFileError: the runtime refuses the inputs, crashes, or does not answer in time.
        """
        count = len(inputs[0])
        if count == 0:
            return after([np.empty((0, *self.graph.sample_shape(t)), t.dtype) for t in self.graph.outputs])
        parts = []
        for start in range(0, count, self._slice_samples):
            chunk = before([values[start : start + self._slice_samples] for values in inputs])
            parts.append(after(self._ask("run", chunk)[1]))
        return [concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def tensors(self, inputs: Arrays) -> dict[int, NDArray]:
        """Every computed tensor [N, ...] of the first subgraph by its index; needs `keep_tensors`."""
        parts: dict[int, list[NDArray]] = {}
        count = len(inputs[0])
        for start in range(0, count, self._slice_samples):
            chunk = [values[start : start + self._slice_samples] for values in inputs]
            answer, arrays = self._ask("tensors", chunk)
            for index, values in zip(answer["indices"], arrays, strict=True):
                parts.setdefault(int(index), []).append(values)
        return {index: concatenate(values) for index, values in parts.items()}

    @cached_property
    def _slice_samples(self) -> int:
        sample = sum(tensor.size_bytes for tensor in self.graph.tensors if not tensor.is_constant)
        affordable = max(4 * SLICE_BYTES // max(sample, 1), 1)
        samples = min(affordable, SLICE_SAMPLES * self._threads)
        return max(samples // self.batch_size, 1) * self.batch_size

    def _ask(self, do: str, arrays: Sequence[NDArray] = ()) -> tuple[dict[str, Any], list[NDArray]]:
        return self._child.ask({"do": do, "number": self._number}, arrays)


def _child_of(content: bytes) -> _Child:
    """The process of this file, which all its runtimes share; a new one if the last has died."""
    key = hashlib.sha256(content).digest()
    child = _children.get(key)
    if child is None or not child.alive:
        child = _children[key] = _Child(content)
    return child


class _Child:
    """One child process with one file loaded."""

    def __init__(self, content: bytes) -> None:
        limits = current()
        self._seconds = limits.seconds
        self._most_bytes = limits.file_mb * MB
        self._memory_bytes = max(limits.memory_mb * MB, 8 * len(content))
        self._lock = threading.Lock()
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", _START, *sys.path]
        environment = {**os.environ, VERBOSE: "1"}  # its stderr is discarded already
        streams: dict[str, Any] = {"stdin": pipe, "stdout": pipe, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env=environment, **streams)
        weakref.finalize(self, _kill, self._process)
        self._send({"memory_bytes": self._memory_bytes, "size_bytes": len(content)}, (), content)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, command: dict[str, Any], arrays: Sequence[NDArray] = ()) -> tuple[dict[str, Any], list[NDArray]]:
        """Send one command and wait for its answer.

        Args:
            command: JSON values, sent as one line; `do` names the command.
            arrays: inputs of the command, one [N, ...] of the file's dtype per input.

        Returns:
            JSON values of the answer, and its arrays.

        Raises:
            TfliteFileError: the child refuses, crashes, answers nonsense, or exceeds `limits.seconds`.
        """
        with self._lock:
            self._send(command, arrays)
            end = time.monotonic() + self._seconds
            line = bytearray()
            while not line.endswith(b"\n"):
                if len(line) > MB:
                    raise self._failure("its reply is not valid")
                line += self._read(1, end)
            answer = self._parse(bytes(line))
            if "refused" in answer:
                raise TfliteFileError(str(answer["refused"])[:1000])
            return answer, [self._read_array(each, end) for each in answer["arrays"]]

    def _send(self, command: dict[str, Any], arrays: Sequence[NDArray], content: bytes = b"") -> None:
        assert self._process.stdin is not None
        try:
            send(self._process.stdin, command, arrays, content)  # type: ignore[arg-type]
        except (BrokenPipeError, ValueError):
            raise self._failure() from None

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(line)
            if isinstance(answer, dict) and isinstance(answer.get("arrays"), list):
                return answer
        except (ValueError, RecursionError):
            pass
        raise self._failure("its reply is not valid")

    def _read_array(self, announced: tuple[str, list[int]], end: float) -> NDArray:
        try:
            dtype, shape = np.dtype(announced[0]), [int(size) for size in announced[1]]
            size = math.prod(shape) * dtype.itemsize
            if dtype.kind not in PLAIN_KINDS or min(shape, default=0) < 0:
                raise ValueError
        except (ValueError, TypeError, IndexError):
            raise self._failure("it answers what is no array") from None
        if size > self._most_bytes:
            raise self._failure(f"its outputs have {size / MB:,.0f} MB, more than limits.file_mb allows")
        return np.frombuffer(self._read(size, end), dtype, math.prod(shape)).reshape(shape).copy()

    def _read(self, size: int, end: float) -> bytes:
        assert self._process.stdout is not None
        descriptor, parts = self._process.stdout.fileno(), bytearray()
        while len(parts) < size:
            if not select.select([descriptor], [], [], max(end - time.monotonic(), 0))[0]:
                raise self._failure(f"it did not answer within limits.seconds={self._seconds} and was stopped")
            part = os.read(descriptor, min(size - len(parts), 1 << 20))
            if not part:
                raise self._failure()
            parts += part
        return bytes(parts)

    def _failure(self, reason: str = "") -> TfliteFileError:
        """End the process; the error to raise, by default that it crashed."""
        if not reason:
            ended = describe_exit(self._process.wait())
            reason = f"it crashes the TFLite runtime ({ended}; limit {self._memory_bytes >> 20} MB)"
        _kill(self._process)
        return TfliteFileError(f"this file was run in a child process: {reason}. Do not use it")


def _kill(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue
