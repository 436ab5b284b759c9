"""Two axes on a canvas: frame, marks, round numbers, legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from qat.reporting.canvas import BLACK, PALE, Canvas, width_of
from qat.reporting.chart import ticks

Marks = Sequence[tuple[float, str]]  # where on an axis, and what stands there


@dataclass(frozen=True)
class Panel:
    """Part of a canvas with two axes; `x` and `y` are the numbers at its ends."""

    canvas: Canvas
    left: int
    top: int
    right: int
    bottom: int
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        across, up = (x - self.x[0]) / (self.x[1] - self.x[0]), (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def frame(self) -> None:
        self.canvas.draw.rectangle((self.left, self.top, self.right, self.bottom), outline=BLACK)

    def image(self, colours: NDArray[np.uint8]) -> None:
        """Fill it with cells [rows, columns, 3]."""
        size = self.right - self.left, self.bottom - self.top
        cells = Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)
        self.canvas.image.paste(cells, (self.left, self.top))

    def title(self, text: str, size: int = 13) -> None:
        self.canvas.text((self.left + self.right) / 2, self.top - 12, text, size)

    def x_axis(self, marks: Marks | None = None, label: str = "", size: int = 11, grid: bool = False) -> None:
        """Round numbers where there are no `marks`."""
        for value, text in round_marks(self.x) if marks is None else marks:
            x = self.at(value, 0)[0]
            if grid:
                self.canvas.line([(x, self.top), (x, self.bottom)], PALE)
            self.canvas.line([(x, self.bottom), (x, self.bottom + 4)], BLACK)
            self.canvas.text(x, self.bottom + 7, text, size, "ma")
        self.canvas.text((self.left + self.right) / 2, self.bottom + 33, label, 12)

    def y_axis(self, marks: Marks | None = None, size: int = 11, grid: bool = False) -> None:
        for value, text in round_marks(self.y) if marks is None else marks:
            y = self.at(0, value)[1]
            if grid:
                self.canvas.line([(self.left, y), (self.right, y)], PALE)
            self.canvas.line([(self.left - 4, y), (self.left, y)], BLACK)
            self.canvas.text(self.left - 7, y, text, size, "rm")


def round_marks(ends: tuple[float, float]) -> Marks:
    """Round numbers between two ends, all with the decimals that one of them needs.

    >>> [text for _, text in round_marks((0.0, 0.5))]
    ['0.0', '0.1', '0.2', '0.3', '0.4', '0.5']
    """
    values = ticks(*ends, wanted=7)
    texts = [f"{value:g}" for value in values]
    if not any("e" in text for text in texts):
        decimals = max(len(text.partition(".")[2]) for text in texts)
        texts = [f"{value:.{decimals}f}" for value in values]
    return [(value, text.replace("-", "\N{MINUS SIGN}")) for value, text in zip(values, texts, strict=True)]


def legend(canvas: Canvas, top: int, left: int, entries: Mapping[str, tuple[str, str]]) -> int:
    """Text to mark ("line", "dashes", "dot") and colour, in as many lines as it takes; where a panel may begin."""
    x = left
    for text, (mark, colour) in entries.items():
        width = 28 + width_of(text, 11) + 14
        if x > left and x + width > canvas.width:
            x, top = left, top + 17
        if mark == "dot":
            canvas.dot(x + 15, top, colour)
        else:
            (canvas.dashes if mark == "dashes" else canvas.line)([(x, top), (x + 22, top)], colour, 2)
        canvas.text(x + 28, top, text, 11, "lm")
        x += width
    return top + 14
