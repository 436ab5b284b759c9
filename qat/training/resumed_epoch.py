"""A training of Keras 3 that begins within an epoch: its loop counts the steps of each epoch from 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from qat.models.keras_types import KerasModel


def callbacks_from(
    start: tuple[int, int],
    callbacks: Sequence[keras.callbacks.Callback],
    model: KerasModel,
    epochs: int,
    steps_per_epoch: int,
) -> Sequence[keras.callbacks.Callback]:
    """Callbacks for a training whose first batches are those of `start`.

    Args:
        start: (epoch, step) of the first batch, from 0.
        callbacks: Keras 3's callbacks, in their order.
        model: a compiled model of Keras 3.
        epochs: number of epochs of the training, those that are done included.
        steps_per_epoch: training steps of a whole epoch.

    Returns:
        What `fit` takes as its callbacks: they see the true number of each step.
    """
    if start[1] == 0:
        return callbacks
    return _FromStep(start, callbacks, model=model, epochs=epochs, steps=steps_per_epoch)


class _FromStep(keras.callbacks.CallbackList):
    def __init__(self, start: tuple[int, int], callbacks: Sequence[keras.callbacks.Callback], **params: Any) -> None:
        super().__init__(list(callbacks), add_history=True, verbose=0, **params)
        self.start, self.done = start, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.done = self.start[1] if epoch == self.start[0] else 0
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_begin(batch + self.done, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(batch + self.done, logs)
        if self.done and batch + self.done == self.params["steps"] - 1:
            raise StopIteration  # the data of this epoch are at their end: Keras goes on to its validation
