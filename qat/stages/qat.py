"""Quantization-aware training from the float model, its deployed file evaluated epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

from qat import rundir
from qat.config import QuantConfig
from qat.errors import TrainingDivergedError
from qat.evaluation import Predictor, evaluate, keras_predictor
from qat.export.last_files import Exported
from qat.models.which_keras import keras_of, unwrap
from qat.quantization.keras.model import clone_qat_model
from qat.quantization.quantize import quantize_as_configured
from qat.quantization.range_statistics import RangeFit
from qat.quantization.schedule import QuantizationSchedule, batch_norm_layers, quantizers, reestimate_batch_norm
from qat.stages.calibration import calibration_inputs
from qat.stages.export_files import export_keras, export_tflite, write_quantization_report
from qat.stages.float_model import FloatModel, History
from qat.stages.monitoring import (
    EpochCallback,
    MetricsCallback,
    RangeMonitor,
    convert_and_evaluate_on_val,
    evaluate_on_val,
)
from qat.stages.run import Run
from qat.stages.sensitivity import rank_layers, select_skipped_layers
from qat.stages.training import copy_weights, fit_in_run, keep_trained, load_trained
from qat.training import FitSettings
from qat.training.feeding import steps_per_epoch, training_batches, training_indices
from qat.variants import BASELINE, QUANTIZERS, TRAINED_BY_US

STAGE = "qat"
DEPLOYED_RUN = "deployed_int8"
REESTIMATION_BATCHES = 100  # of train, at most: a mean over more hardly moves


@dataclass(frozen=True)
class TrainedVariant:
    """A trained model with fake quantization, which computes what `<variant>/model.tflite` computes in integers."""

    variant: str
    model: tf_keras.Model
    history: History
    predictor: Predictor  # traced once; reads the weights as they are when it is called
    quant: QuantConfig  # as it was trained: `skip` holds also what `auto_skip` found
    fits: Sequence[RangeFit] = ()  # of its quantizer ranges, at the last measurement
    options: Mapping[str, Any] = field(default_factory=dict)  # further arguments of `convert`
    ours: bool = True  # False for stock tfmot's


def train_quantized(run: Run, float_model: FloatModel, calibrated: Exported | None = None) -> TrainedVariant | None:
    """Quantize, train and export; None where the config asks for no QAT.

    Args:
        run: the run whose directory is written into.
        float_model: what is quantized; its task and history go with it.
        calibrated: the quantized model, not trained yet, where PTQ has exported the very same; None to make it here.

    Returns:
        The trained model with its history (one dict per epoch) and the config that it was trained by; None without QAT.

    Raises:
        TrainingDivergedError: a loss or weight is not finite; the last good weights are exported.
        ModelError: the model cannot be quantized or converted.
        CalibrationError: its calibration gives no usable ranges.
    """
    quant = run.config.quant
    if quant.name not in TRAINED_BY_US:
        return None
    variant = QUANTIZERS[quant.name].variant
    keras_of(float_model.model).utils.set_random_seed(
        run.config.seed
    )  # the same start whether the float model was trained here or taken
    if calibrated is None:
        run, exported = _calibrate(run, float_model, variant)
    else:
        exported = calibrated
    model = exported.model
    unwrap(model).post_training = False  # it is trained from here on
    run.progress.say(model.quantization_report.summary())
    if quant.distillation.weight > 0:
        model.learn_from(float_model.model, quant.distillation.weight, quant.distillation.temperature)
    monitor, predictor = RangeMonitor(run), keras_predictor(model)
    history = load_trained(run, STAGE, model, monitor)
    if history is None:
        run.kept.once(
            "start of QAT",
            lambda: _write_start(run, exported, predictor, float_model, monitor, same_file=calibrated is not None),
        )
        try:
            history = _train(run, exported, float_model, monitor)
        except TrainingDivergedError:
            export_keras(run, variant, model)  # its last good weights
            raise
        _reestimate(run, model, float_model.task)
        keep_trained(run, STAGE, model, history, monitor)
    options = conversion_options(run.config.quant)

    def export() -> None:
        export_keras(run, variant, model)
        export_tflite(run, variant, exported, **options)
        write_quantization_report(run, variant, model)

    run.kept.once(f"export {variant}", export, variant)
    return TrainedVariant(variant, model, history, predictor, run.config.quant, monitor.fits, options)


def _calibrate(run: Run, float_model: FloatModel, variant: str) -> tuple[Run, Exported]:
    """The quantized model, not trained yet; the run's `quant.skip` then holds also what `quant.auto_skip` found."""
    quant = run.config.quant
    with run.progress.work("calibrate"):
        calibration = calibration_inputs(run, float_model.task)
        quant = replace(quant, skip=[*quant.skip, *_choose_layers(run, float_model, calibration, variant)])
        model = quantize_as_configured(float_model.model, calibration, quant)
    return replace(run, config=replace(run.config, quant=quant)), Exported(model)


def _choose_layers(run: Run, float_model: FloatModel, calibration: NDArray[np.float32], variant: str) -> list[str]:
    """Measure the layers where the config asks for it; patterns of those that `quant.auto_skip` leaves in float."""
    stage, quant = "measurement of layers", run.config.quant
    if not quant.sensitivity and quant.auto_skip.max_drop is None:
        return []
    done = run.kept.done(stage)
    if done is None:
        rank_layers(run, float_model, calibration, variant)
        done = {"skip": select_skipped_layers(run, float_model, calibration)}
        run.kept.finish(stage, done, run.kept.files_of(variant))
    with run.kept.refusing_foreign_values(stage):
        return [str(pattern) for pattern in done["skip"]]


def conversion_options(quant: QuantConfig) -> dict[str, bool]:
    """The arguments of `convert` for a model that is quantized as this config says."""
    return {"allow_float": bool(quant.skip)}


def _train(run: Run, exported: Exported, float_model: FloatModel, monitor: RangeMonitor) -> History:
    model, options = exported.model, conversion_options(run.config.quant)
    config, task, before = run.config, float_model.task, len(float_model.history)
    settings = FitSettings.from_quant(config.quant, config.train)
    steps = steps_per_epoch(len(training_indices(run.splits.train, task)), settings.batch_size)

    def evaluate_file(trained: tf_keras.Model, epoch: int) -> None:
        if not all(quantizer.enabled for quantizer in quantizers(trained)):
            return  # `quant.delay`: there is no quantized file yet
        copy_weights(trained, model)
        convert_and_evaluate_on_val(run, DEPLOYED_RUN, exported, task, epoch, **options)

    def write_ranges(trained: tf_keras.Model, epoch: int) -> None:
        copy_weights(trained, model)
        monitor(model, epoch)

    with run.progress.work("QAT", settings.epochs, "epoch") as bar:
        callbacks: Sequence[tf_keras.callbacks.Callback] = [
            QuantizationSchedule(config.quant, settings.epochs * steps, steps),
            MetricsCallback(run.summary_writer, "fake_quant", bar, before),
            _FoldOnceCallback(
                model,
                {evaluate_file: config.log.deployed_every, write_ranges: config.log.ranges_every},
                settings.epochs,
                before,
            ),
        ]
        return fit_in_run(
            run, model, settings, callbacks, task=task, clone=clone_qat_model, stage=STAGE, states={"ranges": monitor}
        )


class _FoldOnceCallback(EpochCallback):
    """Runs its actions in one pass of the exported model: its weights are folded once per epoch, for all of them."""

    def __init__(self, model: tf_keras.Model, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._exported = unwrap(model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with self._exported.float_variables.one_pass():
            super().on_epoch_end(epoch, logs)


def _reestimate(run: Run, model: tf_keras.Model, task: str) -> None:
    """BatchNormalization's statistics as they are with the final weights, where the config asks for it."""
    config = run.config
    if not config.quant.reestimate_bn or not any(layer.norm["acts"] for layer in batch_norm_layers(model)):
        return
    settings = FitSettings.from_quant(config.quant, config.train)
    with run.progress.work("re-estimate BatchNormalization"):
        batches = training_batches(
            run.splits.train, settings.batch_size, task=task, seed=config.seed, augmentation=config.data.augmentation
        )
        reestimate_batch_norm(model, (inputs for inputs, _ in batches.take(REESTIMATION_BATCHES)))


def _write_start(
    run: Run, exported: Exported, predictor: Predictor, float_model: FloatModel, monitor: RangeMonitor, same_file: bool
) -> None:
    """Write the series' first points: calibrated, not trained yet; `same_file` where that is what PTQ exported."""
    if not run.summary_writer.is_enabled:
        return
    task, epoch = float_model.task, len(float_model.history)
    initial = evaluate(predictor, run.splits.val, task)
    run.summary_writer.add_scalars("fake_quant", {f"{initial.metric.name}/val": initial.metric.value}, epoch)
    monitor(exported.model, epoch)
    if run.config.log.deployed_every and same_file:
        evaluate_on_val(run, DEPLOYED_RUN, run.file(BASELINE, rundir.MODEL_TFLITE).read_bytes(), task, epoch)
    elif run.config.log.deployed_every:
        convert_and_evaluate_on_val(run, DEPLOYED_RUN, exported, task, epoch, **conversion_options(run.config.quant))
