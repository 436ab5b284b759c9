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
from qat.export.tracing import TracedModel, trace
from qat.quantization import quantize_model
from qat.quantization.model import qat_twin
from qat.quantization.range_meter import RangeFit
from qat.quantization.schedule import QuantizationSchedule, normalized, reestimate_batch_norm
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


def train_quantized(run: Run, float_model: FloatModel, calibrated: TracedModel | None = None) -> QatModel | None:
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
        run, traced = _calibrated(run, float_model, variant)
    else:
        traced = calibrated
    model = traced.model
    object.__setattr__(model, "post_training", False)  # from here on
    if quant.distillation.weight > 0:
        model.learn_from(float_model.model, quant.distillation.weight, quant.distillation.temperature)
    watch, predictor = RangeWatch(run), keras_predictor(model)
    _draw_start(run, traced, predictor, float_model, watch, same_file=calibrated is not None)
    try:
        history = _train(run, traced, float_model, watch)
    except TrainingDivergedError:
        export_keras(run, variant, model)  # its last good weights
        raise
    _reestimate(run, model, float_model.task)
    export_keras(run, variant, model)
    options = conversion_options(run.config.quant)
    export_tflite(run, variant, traced, **options)
    return QatModel(variant, model, history, predictor, run.config.quant, watch.fits, options)


def _calibrated(run: Run, float_model: FloatModel, variant: str) -> tuple[Run, TracedModel]:
    """The quantized model, not trained yet; the run's `quant.skip` then holds also what `quant.auto_skip` found."""
    quant = run.config.quant
    with run.progress.work("calibrate"):
        calibration = calibration_inputs(run, float_model.task)
        rank_layers(run, float_model, calibration, variant)
        quant = replace(quant, skip=[*quant.skip, *skipped_by_itself(run, float_model, calibration)])
        model = quantize_model(float_model.model, calibration, config=quant)
    return replace(run, config=replace(run.config, quant=quant)), trace(model, run.config.export.batch_size)


def conversion_options(quant: QuantConfig) -> dict[str, bool]:
    """What `convert` must be told of a model that is quantized as this config says."""
    bits = [quant.weight_bits, *(settings.get("weight_bits", 8) for settings in quant.per_layer.values())]
    return {"low_bit": min(bits) < 8, "allow_float": bool(quant.skip)}


def _train(run: Run, traced: TracedModel, float_model: FloatModel, watch: RangeWatch) -> History:
    model, options = traced.model, conversion_options(run.config.quant)
    config, task, before = run.config, float_model.task, len(float_model.history)
    settings = FitSettings.of_quant(config.quant, config.train)
    steps = steps_per_epoch(len(trained_on(run.splits.train, task)), settings.batch_size)
    with run.progress.work("QAT", settings.epochs, "epoch") as bar:
        watching: Sequence[tf_keras.callbacks.Callback] = [
            QuantizationSchedule(config.quant, settings.epochs * steps, steps),
            CurveCallback(run.board, "fake_quant", bar, before),
            EpochCallback(
                lambda now, step: draw_converted(run, CURVE, _as_exported(traced, now), task, step, **options),
                config.log.deployed_every,
                settings.epochs,
                before,
            ),
            EpochCallback(
                lambda now, step: watch(_as_exported(traced, now), step),
                config.log.ranges_every,
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


def _as_exported(traced: TracedModel, trained: tf_keras.Model) -> TracedModel:
    """The model as it is now, outside of any strategy, under which nothing can be exported."""
    if trained is not traced.model:
        traced.model.set_weights(trained.get_weights())
    return traced


def _reestimate(run: Run, model: tf_keras.Model, task: str) -> None:
    """BatchNormalization's statistics as they are with the final weights, where the config asks for it."""
    config = run.config
    if not config.quant.reestimate_bn or not any(layer.norm["acts"] for layer in normalized(model)):
        return
    settings = FitSettings.of_quant(config.quant, config.train)
    with run.progress.work("re-estimate BatchNormalization"):
        batches = training_batches(
            run.splits.train, settings.batch_size, task=task, seed=config.seed, augmentation=config.data.augmentation
        )
        reestimate_batch_norm(model, (inputs for inputs, _ in batches.take(REESTIMATION_BATCHES)))


def _draw_start(
    run: Run, traced: TracedModel, predictor: Predictor, float_model: FloatModel, watch: RangeWatch, same_file: bool
) -> None:
    """Where the curves begin: calibrated, not yet trained; `same_file` where that is what PTQ exported."""
    if not run.board.is_asked_for:
        return
    task, step = float_model.task, len(float_model.history)
    start = evaluate(predictor, run.splits.val, task)
    run.board.scalars("fake_quant", {f"{start.metric.name}/val": start.metric.value}, step)
    watch(traced, step)
    if run.config.log.deployed_every and same_file:
        draw_deployed(run, CURVE, run.file(BASELINE, rundir.MODEL_TFLITE).read_bytes(), task, step)
    elif run.config.log.deployed_every:
        draw_converted(run, CURVE, traced, task, step, **conversion_options(run.config.quant))
