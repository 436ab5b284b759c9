"""What a model is trained and judged for, in one table. Stdlib only.

To add a task, see "Adding a task" in `docs/pages/extend.md`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the stages ask of a task; the rest of them is alike for all."""

    name: str
    metric: str  # what it is judged by, as results, curves and tables call it
    has_classes: bool  # one output per class, compared with integer labels
    is_in_percent: bool = False  # its metric is a share, shown in per cent, and differences of it in points
    metric_limits: tuple[float, float] = (0, 1)
    hub_metric: str = ""  # the Hub's name of its metric; the metric's own where it has no other
    models: tuple[str, ...] = ()  # of `qat.models.MODELS`, those that are built for it; classifiers are the rest
    targets_are_inputs: bool = False  # outputs are trained towards the inputs, else towards the labels
    trains_on_normal: bool = False  # on samples of label 0 alone
    best_epoch: tuple[str, ...] = (
        "-val_loss",
    )  # logs that order epochs, the first counts most; after "-" less is better

    def score(self, logs: dict[str, float]) -> tuple[float, ...]:
        """How good an epoch is, by its logs; higher is better.

        >>> TASKS["classification"].score({"val_accuracy": 0.9, "val_loss": 0.3})
        (0.9, -0.3)
        """
        return tuple(-logs[key[1:]] if key.startswith("-") else logs[key] for key in self.best_epoch)


CLASSIFICATION, RECONSTRUCTION = "classification", "reconstruction"

TASKS: dict[str, Task] = {
    each.name: each
    for each in (
        # equal accuracies, frequent on a small val split, are ordered by the loss
        Task(name=CLASSIFICATION, metric="accuracy", has_classes=True, is_in_percent=True,
             best_epoch=("val_accuracy", "-val_loss")),
        Task(name=RECONSTRUCTION, metric="auc", hub_metric="roc_auc", has_classes=False, models=("autoencoder",),
             targets_are_inputs=True, trains_on_normal=True),
    )
}  # fmt: skip
BY_METRIC = {each.metric: each for each in TASKS.values()}
METRICS = tuple(BY_METRIC)
OF_ANY_TASK = ("saved", "user")  # models whose shapes tell their task


def has_classes(model: str) -> bool | None:
    """Whether the model of that name, a key of `qat.models.MODELS`, tells classes apart; None where its shapes tell it.

    >>> has_classes("simple_cnn"), has_classes("autoencoder"), has_classes("saved")
    (True, False, None)
    """
    if model in OF_ANY_TASK:
        return None
    return next((each.has_classes for each in TASKS.values() if model in each.models), True)


def is_in_percent(metric: str) -> bool:
    """Whether a metric is shown in per cent; False for one that no task has.

    >>> is_in_percent("accuracy"), is_in_percent("auc"), is_in_percent("f1")
    (True, False, False)
    """
    return metric in BY_METRIC and BY_METRIC[metric].is_in_percent


def infer_task(input_shape: Sequence[int | None], output_shape: Sequence[int | None], classes: int | None) -> str:
    """The task that shapes tell: outputs of the input's shape that are not one number per class are its reconstruction.

    Args:
        input_shape, output_shape: sizes of one sample, without the batch axis; None in the place of a size that is
            open.
        classes: number of classes in the data; None where it is not known.

    Returns:
        A key of `TASKS`.

    >>> infer_task((28, 28, 1), (10,), 10), infer_task((640,), (640,), 2), infer_task((10,), (10,), 10)
    ('classification', 'reconstruction', 'classification')
    """
    per_class = None not in output_shape and math.prod(size or 0 for size in output_shape) == classes
    return RECONSTRUCTION if tuple(input_shape) == tuple(output_shape) and not per_class else CLASSIFICATION
