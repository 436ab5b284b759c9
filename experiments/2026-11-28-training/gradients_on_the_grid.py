"""With rounding on, do gradients go where they go without? The cases of the invariant, with drawn and initial weights.

    PYTHONPATH=. .venv/bin/python experiments/2026-11-28-training/gradients_on_the_grid.py ROWS [name-regex ...]

A row a case, JSON lines in the file ROWS: `bad` are the variables whose gradient in training has, beside that without
rounding, less than half or more than twice the size, or a cosine below 0.7; each as name, largest entry without
rounding, ratio of sizes, cosine. Gradients below a thousandth of the model's largest are left out. `dB`: SQNR of the
outputs in training. Targets lie near the float outputs, so that the residual of a model with large outputs is the
rounding error itself, and its gradient another: a vanishing one is a fault, a turned one need not be.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.quantization.invariant import Case, batch_for, fresh, silence, step  # isort: skip  (it selects Keras 2)

import numpy as np

from qat.quantization import quantize_model
from qat.quantization.importing.model_inputs import nest_inputs
from tests.quantization.invariant_sets import cases

SMALL, SMALLER, LARGER, TURNED = 1e-3, 0.5, 2.0, 0.7


def measured(case: Case) -> dict[str, Any]:
    model = fresh(case)
    if case.silenceable:
        silence(model)
    batch = batch_for(case, model, 32)
    quantized = quantize_model(model, nest_inputs(model, batch.inputs))
    quantized.fake_quantization(False)
    off = step(quantized, batch)
    quantized.fake_quantization(True)
    on = step(quantized, batch)
    found = zip(quantized.trainable_variables, off.gradients, on.gradients, strict=True)
    told = [compared(v.name, np.ravel(one), other) for v, one, other in found if counts(one, off.largest)]
    decibels = [sqnr(a, b) for a, b in zip(off.outputs, on.outputs, strict=True) if a.dtype.kind == "f"]
    return {"bad": [each for each in told if each], "n": len(off.gradients), "dB": decibels}


def counts(gradient: np.ndarray | None, largest: float) -> bool:
    return gradient is not None and gradient.size > 0 and float(np.abs(gradient).max()) >= SMALL * largest


def compared(name: str, off: np.ndarray, on: np.ndarray | None) -> list[Any] | None:
    other = np.zeros_like(off) if on is None else np.ravel(on)
    sizes = float(np.linalg.norm(off)), float(np.linalg.norm(other))
    ratio, cosine = sizes[1] / (sizes[0] or 1.0), float(off @ other) / (sizes[0] * sizes[1] or 1.0)
    held = SMALLER <= ratio <= LARGER and cosine >= TURNED
    return None if held else [name, float(np.abs(off).max()), ratio, cosine]


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    noise = float(np.mean((expected - found) ** 2))
    return round(float(10 * np.log10((np.var(expected) + 1e-30) / (noise + 1e-30))), 1)


def main(rows: str, *patterns: str) -> None:
    path = Path(rows)
    known = {json.loads(line)["case"] for line in path.read_text().splitlines()} if path.exists() else set()
    warnings.simplefilter("ignore")
    for case in cases():
        wanted = not patterns or any(re.search(each, case.name) for each in patterns)
        for is_drawn in (True, False):
            name = f"{case.name}, {'drawn' if is_drawn else 'initial'} weights"
            if not wanted or name in known or case.name.startswith("applications") or case.random_weights < is_drawn:
                continue
            try:
                row = measured(replace(case, random_weights=is_drawn))
            except Exception as error:  # the next case is measured all the same
                row = {"error": f"{type(error).__name__}: {error}"[:200]}
            with path.open("a") as file:
                file.write(json.dumps({"case": name} | row) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
