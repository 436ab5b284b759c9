"""Keras callbacks that log, export and evaluate while a model trains; put together here, handed to `training.fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tf_keras

from qat.reporting import Bar, Board
from qat.reporting.tensorboard import ACCURACY, LEARNING_RATE, LOSS

_TAGS = {
    "val_accuracy": f"{ACCURACY}/val",
    "accuracy": f"{ACCURACY}/train",
    "val_loss": f"{LOSS}/val",
    "loss": f"{LOSS}/train",
    "learning_rate": LEARNING_RATE,
}


class CurveCallback(tf_keras.callbacks.Callback):
    """Moves the progress bar, and draws each epoch as a point of the curve `run`, after `epochs_before` others."""

    def __init__(self, board: Board, run: str, bar: Bar, epochs_before: int = 0) -> None:
        super().__init__()
        self._board, self._run, self._bar, self._before = board, run, bar, epochs_before

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch + 1 < self.params["steps"]:
            self._bar.advance(1 / self.params["steps"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.advance(1 / self.params["steps"], describe(logs or {}))
        self.draw(self._board, self._run, logs or {}, self._before + epoch + 1)

    @staticmethod
    def draw(board: Board, run: str, logs: dict[str, Any], step: int) -> None:
        board.scalars(run, {tag: float(logs[key]) for key, tag in _TAGS.items() if key in logs}, step)


class EpochCallback(tf_keras.callbacks.Callback):
    """Calls `action(model, step)` after every so many epochs and after the last; never where that number is 0."""

    def __init__(self, actions: Mapping[Callable[[Any, int], None], int], epochs: int, epochs_before: int = 0) -> None:
        super().__init__()
        self._actions, self._epochs, self._before = actions, epochs, epochs_before

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        done = epoch + 1
        for action, every in self._actions.items():
            if every and (done % every == 0 or done == self._epochs):
                action(self.model, self._before + done)


def describe(logs: dict[str, Any]) -> str:
    """
    >>> describe({"loss": 0.5, "val_loss": 0.25, "val_accuracy": 0.912})
    'loss 0.500  val loss 0.250  val accuracy 91.2 %'
    """
    parts = [f"{key.replace('_', ' ')} {float(logs[key]):.3f}" for key in ("loss", "val_loss") if key in logs]
    if "val_accuracy" in logs:
        parts.append(f"val accuracy {float(logs['val_accuracy']) * 100:.1f} %")
    return "  ".join(parts)
