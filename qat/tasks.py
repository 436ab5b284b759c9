"""What a model is trained and judged for, in one table. Stdlib only.

To add a task, add one record here, its loss in `LOSSES` of `qat/training/loss.py`, its metric in `EVALUATIONS` of
`qat/evaluation/evaluate.py`, and the shapes that tell it in `infer_task`.
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
        Task(name=CLASSIFICATION, metric="accuracy", has_classes=True, best_epoch=("val_accuracy", "-val_loss")),
        Task(name=RECONSTRUCTION, metric="auc", has_classes=False, targets_are_inputs=True, trains_on_normal=True),
    )
}
METRICS = tuple(each.metric for each in TASKS.values())


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
