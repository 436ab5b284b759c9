"""The calibration samples of a run, checked: the command line asks for more than the functions below it do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qat.calibration_data import FEW_SAMPLES
from qat.config import QuantConfig
from qat.errors import CalibrationError
from qat.stages.run import Run
from qat.tasks import TASKS
from qat.variants import QUANTIZERS, post_training_quantizer


def calibration_inputs(run: Run, task: str) -> NDArray[np.float32]:
    """Model inputs of the calibration split, checked.

    Args:
        run: run whose data has a calibration split.
        task: a key of `qat.tasks.TASKS`.

    Returns:
        float32 `[N, …]`, prepared by the data's contract.

    Raises:
        CalibrationError: the split gives no usable ranges, as `check_calibration` says.
    """
    check_calibration(run, task)
    return run.splits.calibration.inputs()


def check_calibration(run: Run, task: str) -> None:
    """Refuse a calibration set that gives no usable ranges, before the float training; a config that needs none passes.

    Args:
        run: run whose data has a calibration split, samples [N, ...] and labels [N].
        task: a key of `qat.tasks.TASKS`.

    Raises:
        CalibrationError: fewer than quant.calibration.min_samples, or, for a classifier, of one class only. Where the
            user has given neither that nor `samples`, a small set is taken as it is; `as_batches` warns of it.
    """
    if not QUANTIZERS[run.config.quant.name].needs_calibration:
        return
    split, settings = run.splits.calibration, run.config.quant.calibration
    least = FEW_SAMPLES if settings.min_samples is None else settings.min_samples
    if len(split) < least and (settings.samples, settings.min_samples) != (None, None):
        raise CalibrationError(
            f"quant.calibration.samples={len(split)}: expected at least quant.calibration.min_samples={least}. "
            "Few samples leave ranges too narrow; take more, or lower the minimum knowingly."
        )
    if TASKS[task].has_classes and len(np.unique(split.labels)) < 2 <= len(run.splits.class_names):
        name = run.splits.class_names[int(split.labels[0])]
        raise CalibrationError(
            f"all {len(split)} calibration samples are of class {name}: ranges of one class fit no other"
        )


def needs_own_calibrator(quant: QuantConfig) -> bool:
    """Whether an int8 file is asked for something that TFLite's own calibrator cannot do."""
    quantizer = post_training_quantizer(quant.name)
    narrow = quantizer is not None and quantizer.weight_bits < 8
    return narrow or quant.calibration.method != "minmax" or quant.equalization or quant.bias_correction
