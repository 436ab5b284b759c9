"""Quantizer ranges, and how much of the activations lies outside of them, as curves of the QAT training."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tf_keras

from qat.evaluation import spread
from qat.quantization.keras.model import QatModel
from qat.quantization.range_statistics import RangeFit, RangeMeter
from qat.reporting.dashboard import ALL_LAYERS, SATURATION, SQNR
from qat.stages.run import Run

MOST_SAMPLES, MOST_NUMBERS = 64, 1 << 20  # of val; fewer where a sample is large: all activations are held at once
_RANGE = re.compile(r"[_/](min|max)(:0)?$")


class RangeWatch:
    """Called with the QAT model and an epoch's number."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._meter: RangeMeter | None = None
        self.fits: list[RangeFit] = []  # of the last call

    def __call__(self, model: QatModel, step: int) -> None:
        if not self._run.config.log.tensorboard or not self._run.config.log.ranges_every:
            return
        board = self._run.board
        board.ranges("fake_quant", range_variables(model), step)
        if self._meter is None:
            self._meter, self._samples = RangeMeter(model), self._inputs()
        self.fits, everywhere = self._meter(self._samples)
        board.scalars("fake_quant", dict(self._scalars(everywhere)), step)

    def _scalars(self, everywhere: float) -> Iterator[tuple[str, float]]:
        yield f"{SATURATION}/{ALL_LAYERS}", everywhere
        for fit in self.fits:
            yield f"{SATURATION}/{fit.layer}", fit.cut_off
            if math.isfinite(fit.sqnr_db):
                yield f"{SQNR}/{fit.layer}", fit.sqnr_db

    def _inputs(self) -> Any:
        val = self._run.splits.val
        size = val.inputs([0]).size
        return val.inputs(spread(len(val), max(4, min(MOST_SAMPLES, MOST_NUMBERS // size))))


def range_variables(model: tf_keras.Model) -> list[tf.Variable]:
    """The variables that hold the ends of quantizer ranges."""
    return [variable for variable in model.weights if _RANGE.search(variable.name)]
