"""Peak memory of `convert` in `scripts/bench`: above what the QAT model takes, in bytes of its float32 weights."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path

from scripts.parts.bench.timing import emit, skip
from scripts.parts.common import part, process_memory

BAR = 2.5
MODELS = {"ConvNeXtBase": 4.0, "ConvNeXtXLarge": 14.0}  # what has to be free, in GB
SIDE, ROWS = 32, 2  # the smallest input, and the fewest rows


def export_memory(rounds: int) -> None:
    for name, needed in MODELS.items():
        what = f"export_memory: {name}, {SIDE} x {SIDE}"
        if memory_free() < needed:
            skip(what, f"{memory_free():.1f} GB are free, {needed:.0f} are needed")
            continue
        command = part("bench.export_memory", name, "")
        found = [
            json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
            for _ in range(rounds)
        ]
        worst = max(found, key=lambda each: each["peak"] / each["weights"])
        notes = "peak of convert above the QAT model, beside its float32 weights"
        notes += f"; the file has {worst['file']:.0f} MB, convert took {worst['seconds']:.0f} s"
        emit(what, worst["peak"], worst["weights"], unit="MB", notes=notes, upper=BAR)


def memory_free() -> float:
    """Gigabytes that a process can still have."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 1e6


def measured(name: str) -> None:
    """One model in this process: quantized on a few rows, then converted."""
    import time

    import numpy as np
    import tf_keras

    from qat.quantization import quantize_model
    from qat.tflite import convert

    build = getattr(tf_keras.applications, name)
    float_model = build(input_shape=(SIDE, SIDE, 3), weights=None, include_preprocessing=False)
    weights = sum(weight.shape.num_elements() * 4 for weight in float_model.weights) / 1e6
    rows = np.random.default_rng(0).normal(size=(ROWS, SIDE, SIDE, 3)).astype(np.float32)
    model = quantize_model(float_model, rows)
    del float_model
    tf_keras.backend.clear_session()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free already is none of the model's
    before, start = process_memory("VmRSS") / 1e6, time.perf_counter()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    content = convert(model)
    seconds = time.perf_counter() - start
    told = {"peak": process_memory("VmHWM") / 1e6 - before, "before": before, "weights": weights, "seconds": seconds}
    print(json.dumps(told | {"file": len(content) / 1e6}))


if __name__ == "__main__":
    name, given = sys.argv[1:]
    if name == "export_memory":
        export_memory(int(given or 1))
    else:
        measured(name)
