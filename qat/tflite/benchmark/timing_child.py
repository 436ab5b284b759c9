"""Runs alone, in a child process: loads one model at a time and times its calls on request.

Only the standard library, NumPy, LiteRT and `qat.process_limits`: `timing` starts this file by its path. Commands come
as lines of JSON on stdin, `load` followed by the file's bytes; each is answered by one line on stdout.
"""

import contextlib
import json
import resource
import sys
import time
from pathlib import Path

from qat import process_limits

OPEN_SIZE = 64  # for dimensions that the file leaves open, the batch apart
MEMORY_BYTES = 8 << 30  # of address space: a batch of 1024 of a hostile file must not exhaust the machine


def _status_bytes(field):
    """A line of /proc/self/status in bytes; None on a system without it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


def _peak_bytes():
    """Peak of resident memory. `ru_maxrss` includes the process before exec, so it is the second choice."""
    peak = _status_bytes("VmHWM")
    if peak is not None:
        return peak
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _forget_peak():
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


class Model:
    def __init__(self, content, threads, delegate, batch, sizes=None):
        import numpy as np
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._litert = Interpreter(model_content=content, num_threads=threads, experimental_op_resolver_type=resolver)
        for index, detail in enumerate(self._litert.get_input_details()):
            signature = [int(size) for size in detail["shape_signature"]]
            defaults = [OPEN_SIZE, *sizes] if sizes and index == 0 else [OPEN_SIZE] * len(signature)
            shape = [size if size >= 0 else default for size, default in zip(signature, defaults, strict=True)]
            if batch is not None and shape:
                shape[0] = batch
            if list(detail["shape"]) != shape:
                self._litert.resize_tensor_input(detail["index"], shape)
        self._litert.allocate_tensors()
        rng = np.random.default_rng(0)
        for detail in self._litert.get_input_details():
            self._litert.set_tensor(detail["index"], _values(rng, detail["shape"], detail["dtype"]))

    def invoke(self):
        started = time.perf_counter_ns()
        self._litert.invoke()
        return time.perf_counter_ns() - started

    def run(self, seconds):
        """Nanoseconds of each call, repeated for `seconds`, at least once."""
        end, durations = time.monotonic() + seconds, []
        while not durations or time.monotonic() < end:
            durations.append(self.invoke())
        return durations


def _values(rng, shape, dtype):
    """Random input values: floats from 0 to 1, or any code; ids are 0, which every vocabulary holds."""
    import numpy as np

    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.random(shape, np.float32).astype(dtype)
    if dtype.itemsize <= 2 and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape, dtype)
    return np.zeros(shape, dtype)


def _load(command, content):
    _forget_peak()
    before = _status_bytes("VmRSS") or _peak_bytes()
    started = time.perf_counter()
    model = Model(content, command["threads"], command["delegate"], command["batch"], command["sizes"])
    load_seconds = time.perf_counter() - started
    warmup = model.run(command["warmup_seconds"])
    return model, {"load_ms": load_seconds * 1e3, "warmup_ns": warmup, "before_bytes": before - len(content)}


def main():
    import numpy  # noqa: F401  loaded before memory is measured, so that it counts for no file
    from ai_edge_litert import interpreter  # noqa: F401

    process_limits.limit(MEMORY_BYTES)
    process_limits.forbid_writing()
    model = None
    for line in sys.stdin.buffer:
        command, answer = json.loads(line), {}
        try:
            if command["do"] == "load":
                model = None
                model, answer = _load(command, sys.stdin.buffer.read(command["size_bytes"]))
            elif command["do"] == "run":
                model.invoke()  # the other children's turns have emptied the caches
                answer = {"ns": model.run(command["seconds"])}
            else:
                answer = {"peak_bytes": _peak_bytes()}
        except process_limits.EXPECTED_ERRORS as error:
            answer = {"refused": " ".join(str(error).split())[:500] or type(error).__name__}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
