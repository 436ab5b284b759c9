"""Quantization-aware training from the float model, watched epoch by epoch as it will be deployed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tf_keras

from qat import rundir
from qat.config import QuantConfig
from qat.errors import TrainingDivergedError
from qat.evaluation import Predictor, evaluate, keras_predictor
from qat.export.last_files import Exported
from qat.quantization import quantize_model
from qat.quantization.keras.model import qat_twin
from qat.quantization.range_statistics import RangeFit
from qat.quantization.schedule import QuantizationSchedule, batch_norm_layers, reestimate_batch_norm
from qat.stages.calibration import calibration_inputs
from qat.stages.deployed import draw_converted, draw_deployed
from qat.stages.export import export_keras, export_tflite
from qat.stages.float_model import FloatModel, History
from qat.stages.range_watch import RangeWatch
from qat.stages.run import Run
from qat.stages.sensitivity import rank_layers, skipped_by_itself
from qat.stages.watching import CurveCallback, EpochCallback
from qat.training import FitSettings, fit
from qat.training.feeding import steps_per_epoch, trained_on, training_batches
from qat.variants import BASELINE, QUANTIZERS, TRAINED_BY_US

CURVE = "deployed_int8"
REESTIMATION_BATCHES = 100  # of train, at most: a mean over more hardly moves


@dataclass(frozen=True)
class QatModel:
    """`model` computes with fake quantization what `<variant>/model.tflite` computes in integers."""

    variant: str
    model: tf_keras.Model
    history: History
    predictor: Predictor  # traced once: it reads the weights as they are
    quant: QuantConfig  # as it was trained: `skip` holds also what `auto_skip` found
    fits: Sequence[RangeFit] = ()  # of its ranges, when last looked at
    options: Mapping[str, Any] = field(default_factory=dict)  # what `convert` must be told of it
    ours: bool = True  # not stock tfmot's


def train_quantized(run: Run, float_model: FloatModel, calibrated: Exported | None = None) -> QatModel | None:
    """Quantize, train and export; None where the config asks for no QAT.

    Args:
        calibrated: the quantized model, not trained yet, where PTQ has exported the very same.
    """
    quant = run.config.quant
    if quant.name not in TRAINED_BY_US:
        return None
    variant = QUANTIZERS[quant.name].variant
    tf_keras.utils.set_random_seed(run.config.seed)  # the same start whether the float model was trained here or taken
    if calibrated is None:
        run, exported = _calibrated(run, float_model, variant)
    else:
        exported = calibrated
    model = exported.model
    object.__setattr__(model, "post_training", False)  # from here on
    if quant.distillation.weight > 0:
        model.learn_from(float_model.model, quant.distillation.weight, quant.distillation.temperature)
    watch, predictor = RangeWatch(run), keras_predictor(model)
    _draw_start(run, exported, predictor, float_model, watch, same_file=calibrated is not None)
    try:
        history = _train(run, exported, float_model, watch)
    except TrainingDivergedError:
        export_keras(run, variant, model)  # its last good weights
        raise
    _reestimate(run, model, float_model.task)
    export_keras(run, variant, model)
    options = conversion_options(run.config.quant)
    export_tflite(run, variant, exported, **options)
    return QatModel(variant, model, history, predictor, run.config.quant, watch.fits, options)


def _calibrated(run: Run, float_model: FloatModel, variant: str) -> tuple[Run, Exported]:
    """The quantized model, not trained yet; the run's `quant.skip` then holds also what `quant.auto_skip` found."""
    quant = run.config.quant
    with run.progress.work("calibrate"):
        calibration = calibration_inputs(run, float_model.task)
        rank_layers(run, float_model, calibration, variant)
        quant = replace(quant, skip=[*quant.skip, *skipped_by_itself(run, float_model, calibration)])
        model = quantize_model(float_model.model, calibration, config=quant)
    return replace(run, config=replace(run.config, quant=quant)), Exported(model)


def conversion_options(quant: QuantConfig) -> dict[str, bool]:
    """What `convert` must be told of a model that is quantized as this config says."""
    bits = [quant.weight_bits, *(settings.get("weight_bits", 8) for settings in quant.per_layer.values())]
    return {"low_bit": min(bits) < 8, "allow_float": bool(quant.skip)}


def _train(run: Run, exported: Exported, float_model: FloatModel, watch: RangeWatch) -> History:
    model, options = exported.model, conversion_options(run.config.quant)
    config, task, before = run.config, float_model.task, len(float_model.history)
    settings = FitSettings.of_quant(config.quant, config.train)
    steps = steps_per_epoch(len(trained_on(run.splits.train, task)), settings.batch_size)

    def draw_file(trained: tf_keras.Model, step: int) -> None:
        _take_weights(model, trained)
        draw_converted(run, CURVE, exported, task, step, **options)

    def draw_ranges(trained: tf_keras.Model, step: int) -> None:
        _take_weights(model, trained)
        watch(model, step)

    with run.progress.work("QAT", settings.epochs, "epoch") as bar:
        watching: Sequence[tf_keras.callbacks.Callback] = [
            QuantizationSchedule(config.quant, settings.epochs * steps, steps),
            CurveCallback(run.board, "fake_quant", bar, before),
            _FoldedOnce(
                model,
                {draw_file: config.log.deployed_every, draw_ranges: config.log.ranges_every},
                settings.epochs,
                before,
            ),
        ]
        augmentation = config.data.augmentation
        splits = run.splits
        with run.workers.trained(model, qat_twin) as trained:
            result = fit(
                trained,
                splits.train,
                splits.val,
                settings,
                seed=config.seed,
                task=task,
                augmentation=augmentation,
                callbacks=watching,
                strategy=run.workers.strategy,
            )
    return result.history


class _FoldedOnce(EpochCallback):
    """In one forward pass of the model that is exported: its weights are folded once an epoch, for all that look."""

    def __init__(self, model: tf_keras.Model, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._exported = model

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with self._exported.float_variables.one_pass():
            super().on_epoch_end(epoch, logs)


def _take_weights(model: tf_keras.Model, trained: tf_keras.Model) -> None:
    """The model as it is now, outside of any strategy, under which nothing can be exported."""
    if trained is not model:
        model.set_weights(trained.get_weights())


def _reestimate(run: Run, model: tf_keras.Model, task: str) -> None:
    """BatchNormalization's statistics as they are with the final weights, where the config asks for it."""
    config = run.config
    if not config.quant.reestimate_bn or not any(layer.norm["acts"] for layer in batch_norm_layers(model)):
        return
    settings = FitSettings.of_quant(config.quant, config.train)
    with run.progress.work("re-estimate BatchNormalization"):
        batches = training_batches(
            run.splits.train, settings.batch_size, task=task, seed=config.seed, augmentation=config.data.augmentation
        )
        reestimate_batch_norm(model, (inputs for inputs, _ in batches.take(REESTIMATION_BATCHES)))


def _draw_start(
    run: Run, exported: Exported, predictor: Predictor, float_model: FloatModel, watch: RangeWatch, same_file: bool
) -> None:
    """Where the curves begin: calibrated, not yet trained; `same_file` where that is what PTQ exported."""
    if not run.board.is_asked_for:
        return
    task, step = float_model.task, len(float_model.history)
    start = evaluate(predictor, run.splits.val, task)
    run.board.scalars("fake_quant", {f"{start.metric.name}/val": start.metric.value}, step)
    watch(exported.model, step)
    if run.config.log.deployed_every and same_file:
        draw_deployed(run, CURVE, run.file(BASELINE, rundir.MODEL_TFLITE).read_bytes(), task, step)
    elif run.config.log.deployed_every:
        draw_converted(run, CURVE, exported, task, step, **conversion_options(run.config.quant))
