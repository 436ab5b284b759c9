"""What is measured while a model trains, for TensorBoard and the loggers: epochs, exported files, quantizer ranges."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat import rundir
from qat.evaluation import evaluate, spread_indices
from qat.export import convert
from qat.models.which_keras import unwrap
from qat.quantization.range_statistics import RangeFit, RangeMeter
from qat.reporting import Bar, SummaryWriter
from qat.reporting.dashboard import ALL_LAYERS, SATURATION, SQNR
from qat.reporting.numbers import compute_drop, drop_name
from qat.reporting.tensorboard import LEARNING_RATE, LOSS
from qat.results import Metric
from qat.stages.run import Run
from qat.tasks import METRICS, is_in_percent
from qat.tflite import Interpreter

if TYPE_CHECKING:
    from qat.export.last_files import Exported
    from qat.export.traced_function import TracedModel
    from qat.quantization.keras.model import QatModel

MOST_SAMPLES, MOST_NUMBERS = 64, 1 << 20  # of val; fewer where a sample is large: all activations are held at once
_RANGE = re.compile(r"[_/](min|max)(:0)?$")


def _find_tag(log: str) -> str | None:
    """The tag of one of Keras' logs: the learning rate, or the loss or a task's metric on val or train; else None."""
    name = log.removeprefix("val_")
    if name == LEARNING_RATE:
        return name
    return f"{name}/{'train' if name == log else 'val'}" if name in (LOSS, *METRICS) else None


class MetricsCallback(tf_keras.callbacks.Callback):
    """Advances the progress bar after each batch and writes each epoch's metrics into one TensorBoard run.

    Args:
        writer: takes the scalars.
        tensorboard_run: name of the TensorBoard run, as `float`.
        bar: progress bar whose unit is an epoch.
        epochs_before: epochs of an earlier training, after which these are drawn.
    """

    def __init__(self, writer: SummaryWriter, tensorboard_run: str, bar: Bar, epochs_before: int = 0) -> None:
        super().__init__()
        self._writer, self._tensorboard_run, self._bar, self._before = writer, tensorboard_run, bar, epochs_before

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.start_at(epoch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch + 1 < self.params["steps"]:
            self._bar.advance(1 / self.params["steps"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.start_at(epoch)
        self._bar.advance(1.0, format_logs(logs or {}))
        write_epoch(self._writer, self._tensorboard_run, logs or {}, self._before + epoch + 1)


class EpochCallback(tf_keras.callbacks.Callback):
    """Calls `action(model, epoch)` after every so many epochs and after the last; never where that number is 0.

    Args:
        actions: function of the model and the number of epochs done so far -> interval between two calls, in epochs.
        epochs: number of epochs of this training.
        epochs_before: number of epochs of an earlier training, which count as done.
    """

    def __init__(
        self, actions: Mapping[Callable[[tf_keras.Model, int], None], int], epochs: int, epochs_before: int = 0
    ) -> None:
        super().__init__()
        self._actions, self._epochs, self._before = actions, epochs, epochs_before

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        done = epoch + 1
        for action, interval in self._actions.items():
            if interval and (done % interval == 0 or done == self._epochs):
                action(self.model, self._before + done)


def write_epoch(writer: SummaryWriter, tensorboard_run: str, logs: Mapping[str, Any], epoch: int) -> None:
    """Write one epoch's metrics as one point of each series.

    Args:
        writer: TensorBoard's writer, which takes the scalars.
        tensorboard_run: name of the TensorBoard run, as `float`.
        logs: Keras' name of a metric to its value after the epoch; names that no chart shows are passed over.
        epoch: number of epochs done, the x of the points.
    """
    writer.add_scalars(tensorboard_run, {tag: float(logs[key]) for key in logs if (tag := _find_tag(key))}, epoch)


def format_logs(logs: Mapping[str, Any]) -> str:
    """An epoch's losses and its metric on val in words, for the progress bar.

    >>> format_logs({"loss": 0.5, "val_loss": 0.25, "val_accuracy": 0.912})
    'loss 0.500  val loss 0.250  val accuracy 91.2 %'
    """
    parts = [f"{key.replace('_', ' ')} {float(logs[key]):.3f}" for key in ("loss", "val_loss") if key in logs]
    for name in METRICS:
        if (value := logs.get(f"val_{name}")) is not None:
            parts.append(f"val {name} " + (f"{value * 100:.1f} %" if is_in_percent(name) else f"{value:.3f}"))
    return "  ".join(parts)


def evaluate_on_val(run: Run, tensorboard_run: str, tflite_model: bytes, task: str, *epochs: int) -> None:
    """Run an exported file on part of `val` and write its metric, and the drop against float, at each of `epochs`.

    Args:
        run: run whose val split is used; nothing is measured where it has neither TensorBoard nor loggers.
        tensorboard_run: name of the TensorBoard run that takes the points, as `deployed_int8`.
        tflite_model: bytes of the `.tflite`.
        task: a key of `qat.tasks.TASKS`.
        epochs: numbers of epochs done, the x of the points; two of them draw a level line.
    """
    if not run.summary_writer.is_enabled:
        return
    indices = spread_indices(len(run.splits.val), run.config.log.deployed_samples)
    interpreter = Interpreter(tflite_model, threads=run.config.threads)
    metric = evaluate(interpreter.predict, run.splits.val, task, indices).metric
    scalars = {
        f"{metric.name}/val": metric.value,
        f"{drop_name(metric.name)}/val": compute_drop(metric, _float_metric(run, task)),
    }
    for epoch in epochs:
        run.summary_writer.add_scalars(tensorboard_run, scalars, epoch)


def convert_and_evaluate_on_val(
    run: Run,
    tensorboard_run: str,
    model: tf_keras.Model | Exported | TracedModel,
    task: str,
    epoch: int,
    **options: Any,
) -> None:
    """Convert the model as it is now, in memory, and write what the file does on part of `val`.

    Args:
        run: run whose val split is used; nothing is converted where it has neither TensorBoard nor loggers.
        tensorboard_run: name of the TensorBoard run that takes the point, as `deployed_int8`.
        model: a Keras model, or what holds its last files or its traced function.
        task: a key of `qat.tasks.TASKS`.
        epoch: number of epochs done, the x of the point.
        options: further arguments of `qat.export.convert`, as `scheme`.
    """
    if run.summary_writer.is_enabled:
        options |= {"batch_size": run.config.export.batch_size}
        evaluate_on_val(run, tensorboard_run, convert(model, **options, check=False), task, epoch)


def _float_metric(run: Run, task: str) -> Metric:
    """The metric of the exported float model on the same samples, measured once per run."""
    if "float on val" not in run.measured:
        indices = spread_indices(len(run.splits.val), run.config.log.deployed_samples)
        float_file = Interpreter(run.file("float", rundir.MODEL_TFLITE), threads=run.config.threads, trusted=True)
        run.measured["float on val"] = evaluate(float_file.predict, run.splits.val, task, indices).metric
    return run.measured["float on val"]


class RangeMonitor:
    """Writes quantizer ranges, and how much of the activations lies outside of them, while a QAT model trains.

    Called with the QAT model and the number of epochs done.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._meter: RangeMeter | None = None
        self.fits: list[RangeFit] = []  # of the last call

    def get_state(self) -> dict[str, Any]:
        """The last fits, as JSON has them."""
        return {"fits": [[fit.layer, fit.cut_off, fit.sqnr_db] for fit in self.fits]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_state` gave.

        Args:
            state: of this training, before it was killed.
        """
        self.fits = [RangeFit(str(layer), float(cut_off), float(sqnr)) for layer, cut_off, sqnr in state["fits"]]

    def __call__(self, model: QatModel, epoch: int) -> None:
        if not self._run.config.log.tensorboard or not self._run.config.log.ranges_every:
            return
        writer = self._run.summary_writer
        writer.add_ranges("fake_quant", range_variables(model), epoch)
        if self._meter is None:
            self._meter, self._samples = RangeMeter(model), self._inputs()
        self.fits, saturation = self._meter(self._samples)
        writer.add_scalars("fake_quant", dict(self._scalars(saturation)), epoch)

    def _scalars(self, saturation: float) -> Iterator[tuple[str, float]]:
        """(tag, value) of all layers together and of each."""
        yield f"{SATURATION}/{ALL_LAYERS}", saturation
        for fit in self.fits:
            yield f"{SATURATION}/{fit.layer}", fit.cut_off
            if math.isfinite(fit.sqnr_db):
                yield f"{SQNR}/{fit.layer}", fit.sqnr_db

    def _inputs(self) -> NDArray[np.float32]:
        val = self._run.splits.val
        size = val.inputs([0]).size
        return val.inputs(spread_indices(len(val), max(4, min(MOST_SAMPLES, MOST_NUMBERS // size))))


def range_variables(model: tf_keras.Model) -> list[tf.Variable]:
    """The variables that hold the minima and maxima of quantizer ranges."""
    return [variable for variable in unwrap(model).weights if _RANGE.search(variable.name)]
