"""Stock tfmot on the same float model, data and steps: what ours is compared with.

Its work is left as it is: its ranges start at -6 and 6, its file is what TensorFlow's converter makes of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import tf_keras

from qat import rundir
from qat.errors import ModelError, QatError
from qat.evaluation import Predictor, evaluate, keras_predictor
from qat.export.traced_function import TracedModel, trace_model
from qat.quantization.stock import quantize_by_tfmot, reason_of, stock_scope
from qat.reporting.dashboard import stock_run_names
from qat.stages.export_files import export_tflite, write_sidecar_files
from qat.stages.float_model import FloatModel, History
from qat.stages.monitoring import EpochCallback, MetricsCallback, convert_and_evaluate_on_val, range_variables
from qat.stages.qat import TrainedVariant
from qat.stages.run import STOCK_OPTIONS, Run
from qat.stages.training import copy_weights, fit_in_run, keep_trained, load_trained
from qat.training import FitSettings
from qat.variants import STOCK_VARIANT

STAGE = "qat_tfmot"
MODEL_H5 = "model.h5"  # Keras does not load a .keras file of tfmot's layers again


def train_stock(run: Run, float_model: FloatModel) -> TrainedVariant | None:
    """Quantize by tfmot, train and export as `qat_tfmot_int8`; None where nobody asks for it, or it was left out.

    Args:
        run: the run whose directory is written into.
        float_model: what is quantized; its outputs decide the loss.

    Returns:
        The trained model, with its history (one dict per epoch); None where there is none.

    Raises:
        QatError: tfmot refuses the model, its training diverges, or its model does not convert. Where ours is trained
            too, the reason is kept in `run.left_out` and the run goes on.
    """
    if not run.wants_stock or STOCK_VARIANT in run.left_out:
        return None
    try:
        return _train_by_tfmot(run, float_model)
    except QatError as error:
        run.leave_out(STOCK_VARIANT, error)
        return None


def _train_by_tfmot(run: Run, float_model: FloatModel) -> TrainedVariant:
    tf_keras.utils.set_random_seed(run.config.seed)  # the same start with and without ours
    tf_keras.backend.reset_uids()  # and the same names of tfmot's layers, whether it was asked before or not
    with run.progress.work("quantize by tfmot"):
        model = quantize_by_tfmot(float_model.model)
    run.progress.say(
        f"{STOCK_VARIANT}: tfmot as it ships, with epochs, batch size, learning rate, optimizer and schedule of quant"
    )
    with _translate_errors():
        traced, predictor = trace_model(model, run.config.export.batch_size), keras_predictor(model)
        history = load_trained(run, STAGE, model)
        if history is None:
            run.kept.once("start of QAT by tfmot", lambda: _write_start(run, model, predictor, float_model))
            try:
                history = _train(run, traced, float_model)
            finally:
                _save(run, model)  # diverged: its last good weights
            keep_trained(run, STAGE, model, history)
    run.kept.once(
        f"export {STOCK_VARIANT}", lambda: export_tflite(run, STOCK_VARIANT, traced, **STOCK_OPTIONS), STOCK_VARIANT
    )
    return TrainedVariant(STOCK_VARIANT, model, history, predictor, run.config.quant, options=STOCK_OPTIONS, ours=False)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise what Keras and TensorFlow raise of a model that tfmot has rewritten as a ModelError."""
    try:
        yield
    except QatError:
        raise
    except Exception as error:
        raise ModelError(f"training of the model that tfmot made fails: {reason_of(error)}") from error


def _train(run: Run, traced: TracedModel, float_model: FloatModel) -> History:
    """Train exactly as our QAT does: with the same settings, seed and order of batches."""
    config, before = run.config, len(float_model.history)
    settings = FitSettings.from_quant(config.quant, config.train)
    fake_quant, deployed = stock_run_names(config.quant.name)

    def call_every(interval: int, action: Callable[[tf_keras.Model, int], None]) -> EpochCallback:
        return EpochCallback({action: interval}, settings.epochs, before)

    def write_ranges(_: tf_keras.Model, epoch: int) -> None:
        run.summary_writer.add_ranges(fake_quant, range_variables(traced.model), epoch)

    def evaluate_file(_: tf_keras.Model, epoch: int) -> None:
        convert_and_evaluate_on_val(run, deployed, traced, float_model.task, epoch, **STOCK_OPTIONS)

    with run.progress.work("QAT by tfmot", settings.epochs, "epoch") as bar:
        callbacks: Sequence[tf_keras.callbacks.Callback] = [
            MetricsCallback(run.summary_writer, fake_quant, bar, before),
            call_every(1, lambda trained, _: copy_weights(trained, traced.model)),
            call_every(config.log.ranges_every, write_ranges),
            call_every(config.log.deployed_every, evaluate_file),
        ]
        task, loss_of = float_model.task, float_model.model
        return fit_in_run(run, traced.model, settings, callbacks, task=task, clone=_clone, loss_of=loss_of, stage=STAGE)


def _clone(model: tf_keras.Model) -> tf_keras.Model:
    """The same model with variables of its own, under the strategy's scope."""
    with stock_scope():
        return tf_keras.models.clone_model(model)


def _write_start(run: Run, model: tf_keras.Model, predictor: Predictor, float_model: FloatModel) -> None:
    """Write the fake-quant model's first point; its file has no range for the input before the first training step."""
    if not run.summary_writer.is_enabled:
        return
    epoch = len(float_model.history)
    fake_quant, _ = stock_run_names(run.config.quant.name)
    initial = evaluate(predictor, run.splits.val, float_model.task)
    run.summary_writer.add_scalars(fake_quant, {f"{initial.metric.name}/val": initial.metric.value}, epoch)
    if run.config.log.ranges_every:
        run.summary_writer.add_ranges(fake_quant, range_variables(model), epoch)


def _save(run: Run, model: tf_keras.Model) -> None:
    """Write `model.h5` and its `model.json`; where Keras cannot write the first, the run goes on without it."""
    try:
        with rundir.whole_file(run.file(STOCK_VARIANT, MODEL_H5)) as path, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that .h5 is an old format
            model.save(path, include_optimizer=False)
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        run.progress.say(f"{STOCK_VARIANT}/{MODEL_H5} is not kept: {reason_of(error)}")
    write_sidecar_files(run, STOCK_VARIANT)
