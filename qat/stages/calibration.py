"""The calibration samples of a run, checked: the command line asks for more than the functions below it do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qat.calibration_data import FEW_SAMPLES
from qat.errors import CalibrationError
from qat.stages.run import Run
from qat.variants import QUANTIZERS


def calibration_inputs(run: Run, task: str) -> NDArray[np.float32]:
    """Model inputs `[N, …]` of the calibration split.

    Raises:
        CalibrationError: as `check_calibration` says.
    """
    check_calibration(run, task)
    return run.splits.calibration.inputs()


def check_calibration(run: Run, task: str) -> None:
    """Refuse a set that gives no usable ranges; nothing where the config needs none. Before the float training.

    Raises:
        CalibrationError: fewer than quant.calibration.min_samples, or, for a classifier, of one class only. Where the
            user has said neither that nor how many, a small set is taken as it is; `as_batches` warns of it.
    """
    if not QUANTIZERS[run.config.quant.name].needs_calibration:
        return
    split, asked = run.splits.calibration, run.config.quant.calibration
    wanted = FEW_SAMPLES if asked.min_samples is None else asked.min_samples
    if len(split) < wanted and (asked.samples, asked.min_samples) != (None, None):
        raise CalibrationError(
            f"quant.calibration.samples={len(split)}: expected at least quant.calibration.min_samples={wanted}. "
            "Few samples leave ranges too narrow; take more, or lower the bar knowingly."
        )
    if task == "classification" and len(np.unique(split.labels)) < 2 <= len(run.splits.class_names):
        name = run.splits.class_names[int(split.labels[0])]
        raise CalibrationError(
            f"all {len(split)} calibration samples are of class {name}: ranges of one class fit no other"
        )
