"""One latency per file, cheap enough for every run; `qat.benchmark` measures with more care."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from qat.tflite.runtime.quiet import quiet

MOST_SECONDS, MOST_CALLS = 0.2, 200


def median_latency_ms(file: bytes | str | Path) -> float:
    """Median milliseconds of `invoke` alone: one sample (zeros), one thread, after a first call that packs weights.

    Takes at most about 0.2 s and two calls. The file must be a trusted one, since it runs in this process.
    """
    source = {"model_content": file} if isinstance(file, bytes) else {"model_path": str(file)}
    with quiet():
        interpreter = Interpreter(**source, num_threads=1)
        interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()
    seconds: list[float] = []
    end = time.perf_counter() + MOST_SECONDS
    while len(seconds) < MOST_CALLS and (not seconds or time.perf_counter() < end):
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)
