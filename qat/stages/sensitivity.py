"""What each layer costs, measured on calibration data: ranked, written, drawn, and the layers to leave in float."""

from __future__ import annotations

import math
import re
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from qat import rundir
from qat.quantization.sensitivity import auto_skip, sensitivity
from qat.reporting.sensitivity_plot import draw_sensitivity
from qat.stages.float_model import FloatModel
from qat.stages.run import Run
from qat.tasks import TASKS

MOST_SAMPLES = 128  # of the calibration split; each layer takes one pass over them


def rank_layers(run: Run, float_model: FloatModel, calibration: NDArray[np.float32], variant: str) -> None:
    """Write `<variant>/sensitivity.json` and `.png`, where `quant.sensitivity` asks for them.

    Args:
        run: the run whose directory is written into.
        float_model: the model whose layers are quantized one at a time.
        calibration: model inputs [N, …], float32; the first 128 are used.
        variant: name of the variant's folder, as `ptq_int8`.
    """
    if not run.config.quant.sensitivity:
        return
    with run.progress.work("sensitivity of each layer"):
        labels = run.splits.calibration.labels[:MOST_SAMPLES] if TASKS[float_model.task].has_classes else None
        rows = sensitivity(float_model.model, calibration[:MOST_SAMPLES], labels=labels, config=run.config.quant)
    records = [asdict(row) | {"sqnr_db": row.sqnr_db if math.isfinite(row.sqnr_db) else None} for row in rows]
    rundir.write_json(run.file(variant, "sensitivity.json"), records)
    figure = draw_sensitivity([row.layer for row in rows], [row.sqnr_db for row in rows])
    rundir.write_bytes(run.file(variant, "sensitivity.png"), figure)
    worst = ", ".join(f"{row.layer} ({row.sqnr_db:.1f} dB)" for row in rows[:3])
    run.progress.say(f"costliest layers: {worst}")


def select_skipped_layers(run: Run, float_model: FloatModel, calibration: NDArray[np.float32]) -> list[str]:
    """Patterns for the fewest layers to leave in float so that `quant.auto_skip.max_drop` holds.

    Args:
        run: run whose `quant.auto_skip.max_drop` is in accuracy points (0-100); null measures nothing.
        float_model: the model that is to be quantized.
        calibration: model inputs [N, …], float32.

    Returns:
        One regular expression per layer, which matches its name alone.
    """
    quant = run.config.quant
    if quant.auto_skip.max_drop is None:
        return []
    with run.progress.work("layers to leave in float"):
        labels = run.splits.calibration.labels
        drop = quant.auto_skip.max_drop
        layers = auto_skip(float_model.model, calibration, max_drop=drop, labels=labels, config=quant)
    run.progress.say(f"left in float by quant.auto_skip: {', '.join(layers) or 'no layer'}")
    return [f"^{re.escape(layer)}$" for layer in layers]
