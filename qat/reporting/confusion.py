"""Confusion matrices: which class a model takes for which, counted and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qat.reporting.canvas import BLACK, GREY, WHITE, Canvas, width_of
from qat.reporting.chart import shortened
from qat.reporting.panel import Panel, round_marks

MOST_NAMED_CLASSES = 20
_ORANGES = ((255, 245, 235), (253, 208, 162), (253, 141, 60), (217, 72, 1), (127, 39, 4))  # ColorBrewer's


def confusion(labels: NDArray, predicted: NDArray, classes: int) -> NDArray[np.int64]:
    """Counts [classes, classes]: rows are the label, columns what was predicted.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    flat = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def confusion_png(matrices: Mapping[str, NDArray[np.int64]], class_names: Sequence[str]) -> bytes:
    """Confusion matrices side by side, mistakes coloured; numbers in them for up to 20 classes."""
    classes = len(next(iter(matrices.values())))
    names = [shortened(name, 9) for name in class_names[:classes]] if classes <= MOST_NAMED_CLASSES else []
    room = max([18, *(width_of(name, 10) for name in names)])
    side, turned = 338 - room, room * classes > 338 - room
    canvas = Canvas(396 * len(matrices), 30 + side + 32 + (room if turned else 14))
    mistakes = {name: np.where(np.eye(classes, dtype=bool), 0, counts) for name, counts in matrices.items()}
    worst = max(1, *(int(wrong.max()) for wrong in mistakes.values()))
    for place, (name, counts) in enumerate(matrices.items()):
        left = 396 * place + room + 38
        panel = Panel(canvas, left, 30, left + side, 30 + side, (-0.5, classes - 0.5), (classes - 0.5, -0.5))
        panel.image(_oranges(mistakes[name] / worst))
        _name_classes(panel, names, classes, turned)
        if names:
            _write_counts(panel, counts, worst)
        panel.frame()
        panel.title(f"{name}: {int(np.trace(counts))} of {int(counts.sum())} right")
        canvas.text(left + side / 2, canvas.height - 11, "predicted")
        canvas.upward(396 * place + 14, 30 + side / 2, "label")
    return canvas.png()


def _oranges(shares: NDArray) -> NDArray[np.uint8]:
    """[..., 3] from shares in 0-1."""
    stops = np.linspace(0, 1, len(_ORANGES))
    return np.stack([np.interp(shares, stops, channel) for channel in zip(*_ORANGES, strict=True)], -1).astype(np.uint8)


def _name_classes(panel: Panel, names: Sequence[str], classes: int, turned: bool) -> None:
    marks = list(enumerate(names)) or round_marks((0, classes - 1))
    panel.y_axis(marks, size=10)
    panel.x_axis([(place, "") for place, _ in marks] if turned and names else marks, size=10)
    for place, name in marks if turned and names else []:
        panel.canvas.upward(panel.at(place, 0)[0], panel.bottom + 6, name, 10, "e")


def _write_counts(panel: Panel, counts: NDArray, worst: int) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = row != column and counts[row, column] > 0.6 * worst
        colour = GREY if row == column else WHITE if dark else BLACK
        panel.canvas.text(*panel.at(column, row), str(counts[row, column]), 9, colour=colour)
