"""The one training loop, for float models and for fake-quantized ones."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import tensorflow as tf
import tf_keras

from qat import interrupts, targets
from qat.config import AugmentationConfig
from qat.data import Split
from qat.errors import ConfigError, DataError, TrainingDivergedError
from qat.models.fit_to_data import infer_model_task
from qat.models.keras_types import KerasModel
from qat.models.which_keras import is_keras3, keras_of
from qat.plain_text import first_line
from qat.tasks import TASKS
from qat.training.checkpoints import Checkpointing, Checkpoints, PlainAttributes
from qat.training.feeding import (
    distributed_batches,
    steps_per_epoch,
    take_refusal,
    training_batches,
    training_indices,
    validation_batches,
)
from qat.training.guards import Diverged, Guard
from qat.training.loss import choose_loss
from qat.training.random_state import readable_random_state, restored_generators
from qat.training.resumed_epoch import callbacks_from
from qat.training.settings import FitSettings


@dataclass(frozen=True)
class FitResult:
    """The outcome of a training. `history` has one dict per epoch: loss, val_loss, learning_rate, accuracies if any."""

    history: tuple[dict[str, float], ...]
    best_epoch: int  # by the val metric, counted from 0; -1 if there was no epoch
    kept_epoch: int  # whose weights the model has now
    steps: int  # training steps


def make_optimizer(settings: FitSettings, steps: int, keras: ModuleType = tf_keras) -> Any:
    """Build a new optimizer.

    Args:
        settings: optimizer, learning rate (above 0) and schedule.
        steps: number of training steps over which the schedule "cosine" lets the learning rate fall to 0.
        keras: the package of the model that is trained; for Keras 3, an optimizer of tf_keras becomes its.

    Returns:
        An optimizer of this Keras without variables.

    Raises:
        ConfigError: `_target_` cannot be imported or called, or returns no optimizer of this Keras.
    """
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine" and steps > 0:
        rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, decay_steps=steps)
    key = f"{settings.group}.optimizer"
    make = targets.resolve(key, _in_package(settings.optimizer, keras))
    try:
        optimizer = make(learning_rate=rate)
    except (TypeError, ValueError) as error:
        reason = re.sub(r", kwargs should be empty.*", f" of {settings.optimizer.get('_target_')}", first_line(error))
        raise ConfigError(f"{key}={settings.optimizer}: cannot be made: {reason}") from error
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ConfigError(
            f"{key}._target_={settings.optimizer['_target_']}: expected a Keras {2 if keras is tf_keras else 3} "
            f"optimizer, such as {keras.__name__}.optimizers.SGD; this is a "
            f"{type(optimizer).__module__}.{type(optimizer).__name__}"
        )
    is_keras_own = type(optimizer).__module__.startswith(("keras.", "tf_keras."))  # others may need certain variables
    if is_keras_own and not tf.distribute.has_strategy():
        _try_step(make(learning_rate=rate), f"{key}={settings.optimizer}")
    return optimizer


def _try_step(optimizer: Any, setting: str) -> None:
    """Refuse arguments that an optimizer takes and cannot compute with, as a text for a number."""
    try:
        optimizer.apply_gradients([(tf.zeros(1), tf.Variable(tf.zeros(1)))])
    except (TypeError, ValueError, AttributeError, tf.errors.OpError) as error:
        reason = re.sub(r"\{\{.*?\}\} ?|\[Op:.*", "", first_line(error)).strip()  # TensorFlow's names of nodes
        raise ConfigError(f"{setting}: cannot take a step with these arguments: {reason}") from error


def _in_package(target: dict[str, Any], keras: ModuleType) -> dict[str, Any]:
    """A target of tf_keras for a model of Keras 3, which has the same ones under the same names."""
    package, _, name = str(target.get("_target_")).partition(".")
    return target | {"_target_": f"keras.{name}"} if keras is not tf_keras and package == "tf_keras" else target


def make_callbacks(target_dicts: Sequence[dict[str, Any]], keras: ModuleType = tf_keras) -> list[Any]:
    """The extra Keras callbacks of `train.callbacks`, each built from its `_target_` dict.

    Args:
        target_dicts: one dictionary per callback: `_target_`, its dotted name, and arguments by name.
        keras: the package of the model that is trained; for Keras 3, a callback of tf_keras becomes its.

    Returns:
        Callbacks of this Keras, in the same order.

    Raises:
        ConfigError: a `_target_` is missing, cannot be imported or called, or returns no Keras callback.
    """
    callbacks = []
    for index, target in enumerate(target_dicts):
        key = f"train.callbacks[{index}]"
        if "_target_" not in target:
            raise ConfigError(f"{key}={target}: expected a _target_, such as tf_keras.callbacks.TerminateOnNaN")
        callback = targets.call(key, _in_package(target, keras))
        if not isinstance(callback, keras.callbacks.Callback):
            raise ConfigError(f"{key}._target_={target['_target_']}: expected a {keras.__name__} callback")
        callbacks.append(callback)
    return callbacks


def _batches(strategy: tf.distribute.Strategy | None) -> Callable[..., Any]:
    return partial(distributed_batches, strategy) if strategy else training_batches


def _check_splits(task: str, *splits: Split) -> None:
    for split in splits:
        if not len(training_indices(split, task)):
            learns_one_class = TASKS[task].trains_on_normal and len(split)
            which = " of class 0, the normal one an autoencoder learns" if learns_one_class else ""
            raise DataError(f"split {split.name} has no samples{which}; training needs at least one")


def _states(guard: Guard, callbacks: Sequence[Any]) -> dict[str, Any]:
    """What a checkpoint takes in addition to variables: the guard's memory, and what the user's callbacks have counted.

    What our own callbacks do follows from the epoch and the step alone.
    """
    theirs = [each for each in callbacks if not type(each).__module__.startswith("qat.")]
    return {"guard": guard} | {
        f"{type(each).__name__} {place}": PlainAttributes(each) for place, each in enumerate(theirs)
    }


def _create_variables(model: KerasModel, outputs: tf.Tensor, targets: tf.Tensor) -> None:
    """Create the variables of optimizer and metrics: a training step that creates them itself is traced twice."""
    model.optimizer.build(model.trainable_variables)
    model.compute_loss(None, targets, outputs)
    model.compute_metrics(None, targets, outputs, None)
    model.reset_metrics()


def _divergence_error(error: Diverged, kept_epoch: int, settings: FitSettings) -> TrainingDivergedError:
    since = "those from before the first step" if kept_epoch < 0 else f"those after epoch {kept_epoch + 1}"
    first = f" (the first layer to overflow: {error.layer})" if error.layer and error.layer not in error.what else ""
    return TrainingDivergedError(
        f"{error} at step {error.step + 1} of epoch {error.epoch + 1}{first}; training stopped, and the model has its "
        f"last good weights back, {since}. Try a smaller {settings.group}.learning_rate "
        f"(it is {settings.learning_rate:g}), or look for extreme values in the data"
    )


def fit(
    model: KerasModel,
    train: Split,
    val: Split,
    settings: FitSettings,
    *,
    seed: int = 0,
    task: str | None = None,
    augmentation: AugmentationConfig | None = None,
    callbacks: Sequence[Any] = (),
    strategy: tf.distribute.Strategy | None = None,
    loss_of: Callable[..., tf.Tensor] | None = None,
    checkpointing: Checkpointing | None = None,
) -> FitResult:
    """Compile `model` from `settings` and train it in place on `train`, evaluating `val` after every epoch.

    Args:
        model: of either Keras, one input of the split's shape, one output.
        train: the samples to train on; of an autoencoder those of class 0.
        val: the samples that decide the best epoch.
        settings: epochs, batch size, optimizer and so on. With 0 epochs nothing happens.
        seed: decides the order of samples and the augmentation of `train`.
        task: a key of `qat.tasks.TASKS`; None derives it from the model.
        augmentation: random changes of the inputs of `train`; None for none.
        callbacks: called after our own; their logs hold each epoch's `learning_rate`.
        strategy: under whose scope the model was built; its replicas share each batch. None for one device.
        loss_of: the model whose outputs for one batch decide the loss; None takes `model` itself. Give the float model
            of a quantized one, whose fake-quantized outputs may no longer look like probabilities.
        checkpointing: where checkpoints are kept; where one is found, the training goes on from it, and ends with the
            very weights and history that it would have had. None keeps none.

    Returns:
        History, epochs counted from 0, and the number of training steps.

    Raises:
        TrainingDivergedError: a loss or weight is no longer finite; the model has its last good weights back.
        DataError: a split without samples to train on.
        ConfigError: an optimizer that cannot be built, or a batch that the replicas cannot share equally.
        ModelError: the model's outputs are not finite before the first step; a strategy, and a model of Keras 3.
    """
    task = task or infer_model_task(model)
    _check_splits(task, train, val)
    steps = steps_per_epoch(len(training_indices(train, task)), settings.batch_size)
    if settings.epochs == 0:
        return FitResult((), -1, -1, 0)
    _compile(model, train, settings, task, steps * settings.epochs, strategy, loss_of)
    guard = Guard(task, settings.keep_best, settings.early_stop_epochs)
    checkpoints = None if checkpointing is None else Checkpoints(checkpointing, _states(guard, callbacks))
    start = (checkpoints and checkpoints.position) or (0, 0)
    every = [guard, *callbacks, *([checkpoints] if checkpoints else [])]
    batches = partial(_batches(strategy), train, settings.batch_size, task=task, seed=seed, augmentation=augmentation)
    try:
        with (
            _named_failures(model, guard, settings),
            restored_generators(model),
            nullcontext() if strategy else readable_random_state(model, seed),
            nullcontext() if checkpointing is None else interrupts.deferred(),
        ):
            model.fit(
                batches(start=start),
                steps_per_epoch=steps if strategy else None,  # distributed batches are endless
                validation_data=validation_batches(val, max(settings.batch_size, 64), task=task),
                epochs=settings.epochs,
                initial_epoch=start[0],
                callbacks=callbacks_from(start, every, model, settings.epochs, steps) if is_keras3(model) else every,
                shuffle=False,  # the batches come shuffled
                verbose=0,
            )
    finally:
        model._training_state = None  # Keras would ask the checkpoints of this training at the next one
        _forget_compilation(model)
        if checkpoints is not None:
            checkpoints.wait()
    kept_epoch, weights = guard.selected_weights()
    if kept_epoch != len(guard.history) - 1:
        model.set_weights(weights)
    return FitResult(tuple(guard.history), guard.best_epoch, kept_epoch, guard.steps)


def _compile(
    model: KerasModel,
    train: Split,
    settings: FitSettings,
    task: str,
    steps: int,
    strategy: tf.distribute.Strategy | None,
    loss_of: Callable[..., tf.Tensor] | None,
) -> None:
    """Compile the model with the loss that its outputs for one batch ask for; `steps` are the whole training's."""
    keras = keras_of(model)
    batch = training_indices(train, task)[: settings.batch_size]
    first = model(train.inputs(batch), training=False)
    with strategy.scope() if strategy else nullcontext():
        outputs = first if loss_of is None else loss_of(train.inputs(batch), training=False)
        loss, metrics = choose_loss(task, outputs.numpy(), settings.label_smoothing, keras)
        model.compile(make_optimizer(settings, steps, keras), loss=loss, metrics=metrics)
    if strategy is None:
        targets = train.inputs(batch) if TASKS[task].targets_are_inputs else train.labels[batch]
        _create_variables(model, first, tf.constant(targets))


@contextmanager
def _named_failures(model: KerasModel, guard: Guard, settings: FitSettings) -> Iterator[None]:
    """Say where a training diverged, with the last good weights put back, and what its data could not give."""
    try:
        with _expected_warnings():
            yield
    except Diverged as error:
        kept_epoch, weights = guard.selected_weights()
        model.set_weights(weights)
        error.group = settings.group
        raise _divergence_error(error, kept_epoch, settings) from error
    except tf.errors.OpError as error:
        refusal = take_refusal()  # as of an image that cannot be decoded
        if refusal is None:
            raise
        raise refusal from error


@contextmanager
def _expected_warnings() -> Iterator[None]:
    """Leave out Keras' warnings of what is meant so."""
    with warnings.catch_warnings():
        # ranges that are learned have none while quantization is delayed
        warnings.filterwarnings("ignore", "Gradients do not exist for variables")
        warnings.filterwarnings("ignore", "Your input ran out of data")  # of an epoch that begins at a later step
        yield


def _forget_compilation(model: KerasModel) -> None:
    """Leave the trained model as one whose weights are loaded: a resumed run saves the same as one that never ended."""
    model.optimizer = None
    if is_keras3(model):
        model.compiled = False
        model._compile_loss = model._compile_metrics = model._loss_tracker = None
    else:
        model._is_compiled = False
        model.compiled_loss = model.compiled_metrics = None
