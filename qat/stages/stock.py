"""Stock tfmot on the same float model, data and steps: what the field knows, and the yardstick of ours.

Nothing of its work is mended here: its ranges start at -6 and 6, its file is what TensorFlow's converter makes of it.
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
from qat.reporting.dashboard import stock_curves
from qat.stages.beside import write_beside
from qat.stages.deployed import draw_converted
from qat.stages.export import export_tflite
from qat.stages.float_model import FloatModel, History
from qat.stages.qat import QatModel
from qat.stages.range_watch import range_variables
from qat.stages.run import STOCK_OPTIONS, Run
from qat.stages.watching import CurveCallback, EpochCallback
from qat.training import FitSettings, fit
from qat.variants import STOCK_VARIANT

MODEL_H5 = "model.h5"  # Keras does not load a .keras file of tfmot's layers again


def train_stock(run: Run, float_model: FloatModel) -> QatModel | None:
    """Quantize by tfmot, train and export as `qat_tfmot_int8`; None where nobody asks for it, or it was left out.

    Raises:
        QatError: tfmot refuses the model, its training diverges, its model does not convert; where it stands beside
            ours, the reason is kept in `run.left_out` and the run goes on.
    """
    if not run.wants_stock or STOCK_VARIANT in run.left_out:
        return None
    try:
        return _trained(run, float_model)
    except QatError as error:
        run.leave_out(STOCK_VARIANT, error)
        return None


def _trained(run: Run, float_model: FloatModel) -> QatModel:
    tf_keras.utils.set_random_seed(run.config.seed)  # the same start alone and beside ours
    tf_keras.backend.reset_uids()  # and the same names of tfmot's layers, whether it was asked before or not
    with run.progress.work("quantize by tfmot"):
        model = quantize_by_tfmot(float_model.model)
    run.progress.say(
        f"{STOCK_VARIANT}: tfmot as it ships, with epochs, batch size, learning rate, optimizer and schedule of quant"
    )
    with _their_errors():
        traced, predictor = trace_model(model, run.config.export.batch_size), keras_predictor(model)
        _draw_start(run, model, predictor, float_model)
        try:
            history = _train(run, traced, float_model)
        finally:
            _keep(run, model)  # diverged: its last good weights
    export_tflite(run, STOCK_VARIANT, traced, **STOCK_OPTIONS)
    return QatModel(STOCK_VARIANT, model, history, predictor, run.config.quant, options=STOCK_OPTIONS, ours=False)


@contextmanager
def _their_errors() -> Iterator[None]:
    """Whatever Keras and TensorFlow raise over a model that tfmot has rewritten, in our words."""
    try:
        yield
    except QatError:
        raise
    except Exception as error:
        raise ModelError(f"training of the model that tfmot made fails: {reason_of(error)}") from error


def _train(run: Run, traced: TracedModel, float_model: FloatModel) -> History:
    """Exactly the steps of our QAT: the same settings, seed and order of batches."""
    config, splits, before = run.config, run.splits, len(float_model.history)
    settings = FitSettings.of_quant(config.quant, config.train)
    fake_quant, deployed = stock_curves(config.quant.name)

    def at_epochs(every: int, action: Callable[[tf_keras.Model, int], None]) -> EpochCallback:
        return EpochCallback({action: every}, settings.epochs, before)

    def draw_ranges(_: tf_keras.Model, step: int) -> None:
        run.board.ranges(fake_quant, range_variables(traced.model), step)

    def draw_file(_: tf_keras.Model, step: int) -> None:
        draw_converted(run, deployed, traced, float_model.task, step, **STOCK_OPTIONS)

    with run.progress.work("QAT by tfmot", settings.epochs, "epoch") as bar:
        watching: Sequence[tf_keras.callbacks.Callback] = [
            CurveCallback(run.board, fake_quant, bar, before),
            at_epochs(1, lambda now, _: _copy_weights(now, traced.model)),
            at_epochs(config.log.ranges_every, draw_ranges),
            at_epochs(config.log.deployed_every, draw_file),
        ]
        with run.workers.trained(traced.model, _twin) as trained:
            result = fit(
                trained,
                splits.train,
                splits.val,
                settings,
                seed=config.seed,
                task=float_model.task,
                augmentation=config.data.augmentation,
                callbacks=watching,
                strategy=run.workers.strategy,
                loss_of=float_model.model,
            )
    return result.history


def _twin(model: tf_keras.Model) -> tf_keras.Model:
    """The same model with variables of its own, under the strategy's scope."""
    with stock_scope():
        return tf_keras.models.clone_model(model)


def _copy_weights(trained: tf_keras.Model, model: tf_keras.Model) -> None:
    """Take the weights out of a strategy, in every worker: means over replicas are taken when they are read."""
    if trained is not model:
        model.set_weights(trained.get_weights())


def _draw_start(run: Run, model: tf_keras.Model, predictor: Predictor, float_model: FloatModel) -> None:
    """Where the curve of the fake-quant model begins. Its file has no range for the input before the first step."""
    if not run.board.is_asked_for:
        return
    step = len(float_model.history)
    fake_quant, _ = stock_curves(run.config.quant.name)
    start = evaluate(predictor, run.splits.val, float_model.task)
    run.board.scalars(fake_quant, {f"{start.metric.name}/val": start.metric.value}, step)
    if run.config.log.ranges_every:
        run.board.ranges(fake_quant, range_variables(model), step)


def _keep(run: Run, model: tf_keras.Model) -> None:
    """`model.h5` and its `model.json`; the exported file goes without where Keras cannot write the first."""
    try:
        with rundir.whole_file(run.file(STOCK_VARIANT, MODEL_H5)) as path, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that .h5 is an old format
            model.save(path, include_optimizer=False)
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        run.progress.say(f"{STOCK_VARIANT}/{MODEL_H5} is not kept: {reason_of(error)}")
    write_beside(run, STOCK_VARIANT)
