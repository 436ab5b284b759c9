"""The one call of `fit` that the float model, ours and stock's QAT share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qat.models.keras_types import KerasModel
from qat.stages import float_cache
from qat.stages.float_cache import History
from qat.stages.run import Run
from qat.training import FitSettings, fit

if TYPE_CHECKING:
    import tf_keras

    from qat.training.checkpoints import Stateful


def fit_in_run(
    run: Run,
    model: KerasModel,
    settings: FitSettings,
    callbacks: Sequence[tf_keras.callbacks.Callback],
    *,
    task: str,
    clone: Callable[[KerasModel], KerasModel],
    loss_of: KerasModel | None = None,
    stage: str,
    states: Mapping[str, Stateful] | None = None,
) -> History:
    """Train `model` in place on the run's data, under its seed, augmentation and strategy.

    Args:
        run: gives train and val, `seed`, `data.augmentation` and the workers of `train.strategy`.
        model: a built Keras model; it has the trained weights at the end.
        settings: number of epochs, samples per batch, optimizer, learning rate (above 0) and schedule.
        callbacks: Keras callbacks; they see the model that is trained, which is a clone under a strategy.
        task: a key of `qat.tasks.TASKS`.
        clone: function that makes the same model with variables of its own, under the strategy's scope.
        loss_of: model whose outputs decide the loss; None for `model` itself.
        stage: name of the stage, under which checkpoints are kept; a run that was killed in it goes on from them.
        states: what else belongs into these checkpoints, by name; see `Stateful`. None for nothing.

    Returns:
        One dict per epoch: losses, and metrics in their units (accuracy as 0-1).

    Raises:
        TrainingDivergedError: a loss or weight is not finite; the model then has its last good weights.
    """
    checkpointing = run.kept.checkpointing(stage)
    if checkpointing is not None and states:
        checkpointing = replace(checkpointing, states={**checkpointing.states, **states})
    with run.workers.replica_to_train(model, clone) as model_to_train:
        result = fit(
            model_to_train,
            run.splits.train,
            run.splits.val,
            settings,
            seed=run.config.seed,
            task=task,
            augmentation=run.config.data.augmentation,
            callbacks=callbacks,
            strategy=run.workers.strategy,
            loss_of=loss_of,
            checkpointing=checkpointing,
        )
    return result.history


def load_trained(run: Run, stage: str, model: KerasModel, monitor: Stateful | None = None) -> History | None:
    """Give `model` the weights that a stage has trained before the run was killed.

    Args:
        run: run that may have been resumed.
        stage: name of the stage, as "qat".
        model: what is trained in it, built; its weights are set in place.
        monitor: object that takes its state back; None where the stage has none.

    Returns:
        The history of the training, one dict per epoch; None where it is still to do.
    """
    done = run.kept.done(stage, trains=True)
    history = None if done is None else float_cache.load(run.kept.entry(stage), model, run.progress.say)
    if done is not None and history is not None and monitor is not None:
        with run.kept.refusing_foreign_values(stage):
            monitor.set_state(done["monitor"])
    return history


def keep_trained(run: Run, stage: str, model: KerasModel, history: History, monitor: Stateful | None = None) -> None:
    """Keep what `load_trained` takes.

    Args:
        run: run in whose folder the weights are kept.
        stage: name of the stage, as "qat".
        model: the model with its trained weights.
        history: history of the training, one dict per epoch.
        monitor: object whose state is kept as well; None where the stage has none.
    """
    if run.kept.is_enabled:
        float_cache.store(run.kept.entry(stage), model, history, run.progress.say)
        run.kept.finish(stage, {} if monitor is None else {"monitor": monitor.get_state()})


def copy_weights(trained: KerasModel, model: KerasModel) -> None:
    """Copy the weights of a clone out of its strategy's scope, in every worker: reading them takes the replicas' mean.

    Args:
        trained: the model that `fit` trains, as a callback sees it; nothing is copied where it is `model` itself.
        model: the same model, with weights of the same shapes and order, outside of any strategy, where alone it can be
            exported.
    """
    if trained is not model:
        model.set_weights(trained.get_weights())
