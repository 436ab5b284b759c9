"""A process that holds one `.tflite` of a stranger and runs it when told to: what breaks in there harms nobody.

Jobs come on stdin and are answered on stdout: one line of JSON, then the arrays it announces, one after the other.
`remote` starts it, and is the other side.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

ORDERLY = (RuntimeError, ValueError, TypeError, IndexError, KeyError, MemoryError, OverflowError, AttributeError)
PLAIN_KINDS = "fiubc"


def announce(arrays: Sequence[NDArray]) -> list[list[Any]]:
    """Dtype and shape of each, as `receive` takes them."""
    return [[str(array.dtype), list(array.shape)] for array in arrays]


def send(stream: BinaryIO, line: dict[str, Any], arrays: Sequence[NDArray] = (), content: bytes = b"") -> None:
    """One line, then the bytes of the arrays, or `content`."""
    stream.write(json.dumps(line | {"arrays": announce(arrays)}).encode() + b"\n")
    for array in arrays:
        stream.write(np.ascontiguousarray(array).tobytes())
    stream.write(content)
    stream.flush()


def _received(stream: BinaryIO, announced: Sequence[Any]) -> list[NDArray]:
    arrays = []
    for dtype, shape in announced:
        count = int(np.prod(shape, dtype=np.int64))
        content = stream.read(count * np.dtype(dtype).itemsize)
        arrays.append(np.frombuffer(content, dtype, count).reshape(shape))
    return arrays


class _Held:
    """The file, and a runtime for each set of options that was asked for."""

    def __init__(self, content: bytes) -> None:
        from qat.tflite.reader import read

        self._content = content
        self._graph = read(content)
        self._runtimes: list[Any] = []

    def answer(self, told: dict[str, Any], arrays: list[NDArray]) -> tuple[dict[str, Any], list[NDArray]]:
        if told["do"] == "load":
            from qat.tflite.runtime.pool import Runtime

            self._runtimes.append(Runtime(self._content, self._graph, **told["options"]))
            return {"number": len(self._runtimes) - 1}, []
        pool = self._runtimes[told["number"]]
        if told["do"] == "batch_size":
            return {"batch_size": pool.batch_size}, []
        if told["do"] == "run":
            return {}, _plain(pool.run(arrays))
        found = {index: values for index, values in pool.tensors(arrays).items() if values.dtype.kind in PLAIN_KINDS}
        return {"indices": list(found)}, list(found.values())


def _plain(arrays: list[NDArray]) -> list[NDArray]:
    for array in arrays:
        if array.dtype.kind not in PLAIN_KINDS:
            raise ValueError("an output of texts, which are not run here")
    return arrays


def main() -> None:
    """Serve until stdin closes."""
    from qat import process_limits
    from qat.tflite.runtime import pool  # noqa: F401  imported before rights are given up

    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the runtime prints is no answer
    first = json.loads(source.readline())
    process_limits.limit(first["memory_bytes"])
    process_limits.forbid_writing()
    held: _Held | None = None
    content = source.read(first["size_bytes"])
    for line in source:
        told = json.loads(line)
        arrays = _received(source, told["arrays"])
        try:
            held = held or _Held(content)
            answer, results = held.answer(told, arrays)
        except ORDERLY as error:
            answer, results = {"refused": " ".join(str(error).split())[:800] or type(error).__name__}, []
        send(sink, answer, results)


if __name__ == "__main__":
    main()
