"""What each layer costs, measured on calibration data: ranked, written and drawn, and what to leave in float."""

from __future__ import annotations

import math
import re
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from qat import rundir
from qat.quantization.sensitivity import auto_skip, sensitivity
from qat.reporting.sensitivity_plot import sensitivity_png
from qat.stages.float_model import FloatModel
from qat.stages.run import Run

MOST_SAMPLES = 128  # of the calibration split; each layer takes one pass over them


def rank_layers(run: Run, float_model: FloatModel, calibration: NDArray[np.float32], variant: str) -> None:
    """`<variant>/sensitivity.json` and `.png`, where `quant.sensitivity` asks for them."""
    if not run.config.quant.sensitivity:
        return
    with run.progress.work("sensitivity of each layer"):
        labels = run.splits.calibration.labels[:MOST_SAMPLES] if float_model.task == "classification" else None
        rows = sensitivity(float_model.model, calibration[:MOST_SAMPLES], labels=labels, config=run.config.quant)
    plain = [asdict(row) | {"sqnr_db": row.sqnr_db if math.isfinite(row.sqnr_db) else None} for row in rows]
    rundir.write_json(run.file(variant, "sensitivity.json"), plain)
    picture = sensitivity_png([row.layer for row in rows], [row.sqnr_db for row in rows])
    rundir.write_bytes(run.file(variant, "sensitivity.png"), picture)
    worst = ", ".join(f"{row.layer} ({row.sqnr_db:.1f} dB)" for row in rows[:3])
    run.progress.say(f"costliest layers: {worst}")


def skipped_by_itself(run: Run, float_model: FloatModel, calibration: NDArray[np.float32]) -> list[str]:
    """Patterns for the fewest layers that `quant.auto_skip.max_drop` asks to leave in float."""
    quant = run.config.quant
    if quant.auto_skip.max_drop is None:
        return []
    with run.progress.work("layers to leave in float"):
        labels = run.splits.calibration.labels
        drop = quant.auto_skip.max_drop
        layers = auto_skip(float_model.model, calibration, max_drop=drop, labels=labels, config=quant)
    run.progress.say(f"left in float by quant.auto_skip: {', '.join(layers) or 'no layer'}")
    return [f"^{re.escape(layer)}$" for layer in layers]
