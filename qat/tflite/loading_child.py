"""Runs alone, in a child process: load a model from stdin under limits, run it once. Any crash here harms nobody.

Only the standard library, NumPy and LiteRT: `sandbox` starts this file by its path.
"""

import resource
import sys
import time

OPEN_SIZE = 64  # tried for dimensions that the file leaves open
REFUSED = 3  # exit code of a model that the runtime refused in an orderly way


def _limit(memory_bytes: int, seconds: int) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, hard))


def _try(content: bytes) -> None:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    rng = np.random.default_rng(0)

    def feed(low: int, high: int) -> None:
        for detail in interpreter.get_input_details():
            shape, dtype = detail["shape"], detail["dtype"]
            interpreter.set_tensor(detail["index"], rng.integers(low, high + 1, shape).astype(dtype))
        interpreter.invoke()
        for detail in interpreter.get_output_details():
            interpreter.get_tensor(detail["index"])

    interpreter = Interpreter(model_content=content, num_threads=1)
    for detail in interpreter.get_input_details():
        shape = [
            size if size >= 0 else 1 if axis == 0 else OPEN_SIZE for axis, size in enumerate(detail["shape_signature"])
        ]
        if list(detail["shape"]) != shape:
            interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    started = time.monotonic()
    feed(0, 0)
    if time.monotonic() - started < 1:
        feed(0, 100)


def main() -> int:
    _limit(int(sys.argv[2]), int(sys.argv[3]))
    try:
        _try(sys.stdin.buffer.read())
    except (RuntimeError, ValueError, TypeError, IndexError, MemoryError, OverflowError) as error:
        print(" ".join(str(error).split())[:500] or type(error).__name__)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
