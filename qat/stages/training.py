"""The one call of `fit` that the float model, ours and stock's QAT share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qat.stages.float_cache import History
from qat.stages.run import Run
from qat.training import FitSettings, fit

if TYPE_CHECKING:
    import tf_keras


def fit_in_run(
    run: Run,
    model: tf_keras.Model,
    settings: FitSettings,
    callbacks: Sequence[tf_keras.callbacks.Callback],
    *,
    task: str,
    clone: Callable[[tf_keras.Model], tf_keras.Model],
    loss_of: tf_keras.Model | None = None,
) -> History:
    """Train `model` in place on the run's data, under its seed, augmentation and strategy.

    Args:
        run: gives train and val, `seed`, `data.augmentation` and the workers of `train.strategy`.
        model: a built Keras model; it has the trained weights at the end.
        settings: epochs, batch size, optimizer and schedule.
        callbacks: see the model that is trained, which is a clone under a strategy.
        task: "classification" or "reconstruction".
        clone: makes the same model with variables of its own, under the strategy's scope.
        loss_of: model whose outputs decide the loss; None for `model` itself.

    Returns:
        The logs of each epoch.

    Raises:
        TrainingDivergedError: a loss or weight is not finite; the model then has its last good weights.
    """
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
        )
    return result.history


def copy_weights(trained: tf_keras.Model, model: tf_keras.Model) -> None:
    """Copy the weights of a clone out of its strategy's scope, in every worker: reading them takes the replicas' mean.

    Args:
        trained: the model that `fit` trains, as a callback sees it; nothing is copied where it is `model` itself.
        model: the same model outside of any strategy, where alone it can be exported.
    """
    if trained is not model:
        model.set_weights(trained.get_weights())
