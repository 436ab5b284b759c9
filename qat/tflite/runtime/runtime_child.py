"""A process that loads one untrusted `.tflite` and runs it on request: a crash in it harms nobody.

Commands come on stdin and are answered on stdout: one line of JSON, then the arrays it announces, one after the other.
`child_process` starts it, and is the other side.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

PLAIN_KINDS = "fiubc"


def announce(arrays: Sequence[NDArray]) -> list[list[Any]]:
    """Dtype and shape of each array, as the other side reads them."""
    return [[str(array.dtype), list(array.shape)] for array in arrays]


def send(stream: BinaryIO, line: dict[str, Any], arrays: Sequence[NDArray] = (), content: bytes = b"") -> None:
    """Write one message.

    Args:
        stream: a pipe to the other process.
        line: JSON values, sent as one line; dtypes and shapes of `arrays` are added to it.
        arrays: any number of arrays of numbers or booleans, any shapes.
        content: raw bytes that follow the arrays, those of a `.tflite`; empty for none.
    """
    stream.write(json.dumps(line | {"arrays": announce(arrays)}).encode() + b"\n")
    for array in arrays:
        stream.write(np.ascontiguousarray(array).tobytes())
    stream.write(content)
    stream.flush()


def _receive(stream: BinaryIO, announced: Sequence[Any]) -> list[NDArray]:
    arrays = []
    for dtype, shape in announced:
        count = int(np.prod(shape, dtype=np.int64))
        content = stream.read(count * np.dtype(dtype).itemsize)
        arrays.append(np.frombuffer(content, dtype, count).reshape(shape))
    return arrays


class _LoadedFile:
    """The file, and a runtime for each `load` command."""

    def __init__(self, content: bytes) -> None:
        from qat.tflite.reader import read

        self._content = content
        self._graph = read(content)
        self._runtimes: list[Any] = []

    def answer(self, command: dict[str, Any], arrays: list[NDArray]) -> tuple[dict[str, Any], list[NDArray]]:
        """Carry out one command.

        Args:
            command: JSON values: `do` is "load", "batch_size", "run" or "tensors"; `number` says in which runtime, from
                0.
            arrays: inputs of "run" and "tensors", one [N, ...] of the file's dtype per input.

        Returns:
            JSON values of the answer, and its arrays: one per output, or one per tensor in "indices".

        Raises:
            TfliteFileError: the runtime refuses the file or the inputs.
            ValueError: an output holds texts.
        """
        if command["do"] == "load":
            from qat.tflite.runtime.pool import Runtime

            self._runtimes.append(Runtime(self._content, self._graph, **command["options"]))
            return {"number": len(self._runtimes) - 1}, []
        pool = self._runtimes[command["number"]]
        if command["do"] == "batch_size":
            return {"batch_size": pool.batch_size}, []
        if command["do"] == "run":
            return {}, _check_plain(pool.run(arrays))
        tensors = {index: values for index, values in pool.tensors(arrays).items() if values.dtype.kind in PLAIN_KINDS}
        return {"indices": list(tensors)}, list(tensors.values())


def _check_plain(arrays: list[NDArray]) -> list[NDArray]:
    for array in arrays:
        if array.dtype.kind not in PLAIN_KINDS:
            raise ValueError("an output holds texts, which cannot be read here")
    return arrays


def main() -> None:
    """Serve until stdin closes."""
    from qat import process_limits
    from qat.tflite.runtime import pool  # noqa: F401  imported before rights are given up

    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the runtime prints is no answer
    start = json.loads(source.readline())
    process_limits.limit(start["memory_bytes"])
    process_limits.forbid_writing()
    loaded: _LoadedFile | None = None
    content = source.read(start["size_bytes"])
    for line in source:
        command = json.loads(line)
        arrays = _receive(source, command["arrays"])
        try:
            loaded = loaded or _LoadedFile(content)
            answer, results = loaded.answer(command, arrays)
        except (*process_limits.EXPECTED_ERRORS, KeyError, AttributeError) as error:
            answer, results = {"refused": " ".join(str(error).split())[:800] or type(error).__name__}, []
        send(sink, answer, results)


if __name__ == "__main__":
    main()
