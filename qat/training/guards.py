"""The callback of every training: stop at the first loss that is not finite, remember good weights, stop early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.tasks import TASKS

Weights = list[NDArray]
LARGEST_WEIGHT = 1e8  # no layer that learns comes near; behind ReLU and BatchNormalization the loss may still look well


class Diverged(Exception):
    """Carries the first value that is not finite, and when, out of Keras' loop; `fit` raises TrainingDivergedError.

    Args:
        what: words for what is not finite, or too large.
        value: its value.
        epoch: number of the epoch, from 0.
        step: number of the step in it, from 0.
        layer: name of the first layer, in the model's order, whose numbers are not finite; None where no layer tells.
        losses: the epoch's mean loss after each of its steps.
    """

    group = "train"  # whose learning rate it was; `fit` says it

    def __init__(
        self, what: str, value: float, epoch: int, step: int, layer: str | None = None, losses: Sequence[float] = ()
    ) -> None:
        super().__init__(f"{what} became {value:.4g}")
        self.what, self.value, self.epoch, self.step = what, value, epoch, step
        self.layer, self.losses = layer, tuple(losses)


class Guard(tf_keras.callbacks.Callback):
    """Checks every training step and epoch of one `fit`, of either Keras.

    `last_good` and `best` are (epoch, weights), epochs counted from 0; epoch -1 is before the first step.

    Args:
        task: a key of `qat.tasks.TASKS`, which decides what the best epoch is.
        keep_best: remember the weights of the best epoch.
        patience: stop after so many epochs without a better val metric; None never stops early.
    """

    def __init__(self, task: str, keep_best: bool, patience: int | None) -> None:
        super().__init__()
        self.task, self.keep_best, self.patience = task, keep_best, patience
        self.epoch, self.steps = 0, 0
        self.history: list[dict[str, float]] = []
        self._losses: list[float] = []  # the epoch's mean after each step
        self.best_epoch, self.best_score = -1, (-math.inf,)
        self.last_good: tuple[int, Weights] = (-1, [])
        self.best: tuple[int, Weights] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.last_good = (-1, self._weights())

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch, self._losses = epoch, []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # The loss in logs is the epoch's running mean: not finite from the first step on whose loss is not finite.
        loss = float((logs or {})["loss"])
        self._losses.append(loss)
        if not math.isfinite(loss):
            raise self._diverged("the loss", loss, batch, self._find_overflow())
        self.steps += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs if logs is not None else {}
        weights = self._finite_weights(logs)
        logs["learning_rate"] = float(tf.convert_to_tensor(self.model.optimizer.learning_rate))
        self.history.append({key: float(value) for key, value in logs.items()})
        self.last_good = (epoch, weights)
        score = TASKS[self.task].score(logs)
        if score > self.best_score:
            self.best_epoch, self.best_score = epoch, score
            self.best = (epoch, weights) if self.keep_best else None
        if self.patience is not None and epoch - self.best_epoch >= self.patience:
            self.model.stop_training = True

    def _finite_weights(self, logs: dict[str, Any]) -> Weights:
        # ReLU gives 0 for NaN and fake quantization clips it, so a NaN weight may not show in the loss.
        last_step = self.params["steps"] - 1
        if not math.isfinite(logs["val_loss"]):
            raise self._diverged("the val loss", logs["val_loss"], last_step, self._find_overflow())
        weights = self._weights()
        for variable, value in zip(self.model.weights, weights, strict=True):
            if value.dtype.kind != "f" or not value.size:
                continue
            largest = float(np.max(np.abs(value)))
            if not largest < LARGEST_WEIGHT:  # NaN is not smaller either
                raise self._diverged(_describe(variable), largest, last_step, _layer_of(variable))
        return weights

    def _diverged(self, what: str, value: float, step: int, layer: str | None) -> Diverged:
        return Diverged(what, value, self.epoch, step, layer, self._losses)

    def _find_overflow(self) -> str | None:
        """The first layer whose statistics overflowed. Gradients of a NaN loss leave no weight to tell it by."""
        for variable, value in zip(self.model.weights, self._weights(), strict=True):
            if not variable.trainable and value.dtype.kind == "f" and not np.all(np.isfinite(value)):
                return _layer_of(variable)
        return None

    def _weights(self) -> Weights:
        """The model's, as arrays: a checkpoint gives single numbers back as Python's, which Keras 3 does not take."""
        return [np.asarray(each) for each in self.model.get_weights()]

    def get_state(self) -> dict[str, Any]:
        """All that it remembers, for a checkpoint."""
        names = ("history", "best_epoch", "best_score", "steps", "last_good", "best")
        return {name: getattr(self, name) for name in names}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from `get_state`.

        Args:
            state: what it gave, lists for tuples.
        """
        shapes = [each.shape for each in self._weights()]
        for kept in filter(None, (state["last_good"], state["best"])):
            if [np.shape(each) for each in kept[1]] != shapes:
                raise ValueError("it keeps weights of another model")
        self.history = [{str(name): float(value) for name, value in each.items()} for each in state["history"]]
        self.steps = int(state["steps"])
        self.best_epoch, self.best_score = int(state["best_epoch"]), tuple(state["best_score"])
        self.last_good = (int(state["last_good"][0]), state["last_good"][1])
        self.best = None if state["best"] is None else (int(state["best"][0]), state["best"][1])

    def selected_weights(self) -> tuple[int, Weights]:
        """Epoch and weights that the model ends with: the best ones if `keep_best`, else the last good ones."""
        return self.best or self.last_good


def _describe(variable: Any) -> str:
    name = str(variable.name)
    is_range = name.partition(":")[0].endswith(("min", "max"))
    return f"{'weight' if variable.trainable else 'range' if is_range else 'statistic'} {name}"


def _layer_of(variable: Any) -> str:
    """Name of the layer that a variable belongs to; Keras 3 has it in the path."""
    path = getattr(variable, "path", variable.name)
    return str(path).rpartition("/")[0].removeprefix("quant_").partition("--")[0]  # a range's stands behind its layer's
