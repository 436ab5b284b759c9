"""Runs alone, in a child process: load a model from stdin under limits, run it once. A crash here harms nobody.

Only the standard library, NumPy, LiteRT and `qat.process_limits`: `sandbox` starts this file by its path.
"""

import contextlib
import sys
import time
from typing import Any

from qat import process_limits

OPEN_SIZE = 64  # used for dimensions that the file leaves open
REFUSED = 3  # exit code of a model that the runtime refused in an orderly way


def _run_all(content: bytes, batch: int) -> None:
    """Raise the errors of a first run on one sample; runs of `batch` samples by other kernels must not crash."""
    from ai_edge_litert.interpreter import OpResolverType

    started = time.monotonic()
    _run(content, OpResolverType.AUTO, batch=1, high=0)
    if time.monotonic() - started > 1:
        return
    for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        with contextlib.suppress(*process_limits.EXPECTED_ERRORS):
            _run(content, resolver, batch, high=100)


def _run(content: bytes, resolver: object, batch: int, high: int) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)
    signatures = [detail["shape_signature"] for detail in interpreter.get_input_details()]
    sizes_are_open = any(size < 0 for signature in signatures for size in signature[1:])
    # An error for a size of our own choice says nothing about the file.
    with contextlib.suppress(*(process_limits.EXPECTED_ERRORS if sizes_are_open else ())):
        _invoke(interpreter, batch, high)


def _invoke(interpreter: Any, batch: int, high: int) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        signature = [int(size) for size in detail["shape_signature"]]
        shape = [size if size >= 0 else 1 if axis == 0 else OPEN_SIZE for axis, size in enumerate(signature)]
        if shape[:1] == [1]:
            shape[0] = batch
        if list(detail["shape"]) != shape:
            interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        # Unscaled integers count something, as token ids do: only 0 is sure to be one that the model knows.
        top = 0 if detail["dtype"] in (np.int32, np.int64) else high
        interpreter.set_tensor(detail["index"], rng.integers(0, top + 1, detail["shape"]).astype(detail["dtype"]))
    interpreter.invoke()
    for detail in interpreter.get_output_details():
        interpreter.get_tensor(detail["index"])


def main() -> int:
    from ai_edge_litert import interpreter  # noqa: F401  imported before rights are given up

    process_limits.limit(int(sys.argv[2]), int(sys.argv[3]))
    process_limits.forbid_writing()
    try:
        _run_all(sys.stdin.buffer.read(), int(sys.argv[4]))
    except process_limits.EXPECTED_ERRORS as error:
        print(" ".join(str(error).split())[:500] or type(error).__name__)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
