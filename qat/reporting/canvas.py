"""Charts of axis-aligned marks, drawn by Pillow: each run draws seven, and matplotlib takes many times as long."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

BLACK, GREY, PALE, WHITE = "#000000", "#888888", "#dddddd", "#ffffff"
_FINER = 4  # a dot is drawn this many times as large, and scaled down: round, with soft edges


@functools.cache
def _font(size: int) -> Any:
    import matplotlib

    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(file, size)


def width_of(text: str, size: int) -> int:
    """Pixels that a line of text takes."""
    return round(_font(size).getlength(text))


class Canvas:
    """White; places are pixels from the left and the top."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.image = Image.new("RGB", (width, height), "white")
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, size: int = 12, anchor: str = "mm", colour: str = BLACK) -> None:
        """One line; `anchor` as Pillow has it: l | m | r, then a | m | d for its top, middle and bottom."""
        self.draw.text((round(x), round(y)), _one_line(text), colour, _font(size), anchor)

    def upward(self, x: float, y: float, text: str, size: int = 12, anchor: str = "m") -> None:
        """One line read from below, around `x`; `y` is its middle, or with "e" where it ends."""
        line = Canvas(width_of(_one_line(text), size) + 2, size + 6)
        line.text(1, line.height / 2, text, size, "lm")
        turned = line.image.transpose(Image.Transpose.ROTATE_90)
        top = y if anchor == "e" else y - turned.height / 2
        self.image.paste(turned, (round(x - turned.width / 2), round(top)))

    def box(self, left: float, top: float, right: float, bottom: float, colour: str) -> None:
        (low_x, high_x), (low_y, high_y) = sorted((round(left), round(right))), sorted((round(top), round(bottom)))
        self.draw.rectangle((low_x, low_y, high_x, high_y), fill=colour)

    def line(self, points: Iterable[tuple[float, float]], colour: str, width: int = 1) -> None:
        self.draw.line([(round(x), round(y)) for x, y in points], colour, width, joint="curve")

    def dashes(self, points: Sequence[tuple[float, float]], colour: str, width: int = 1, dash: int = 5) -> None:
        """Along legs that are level or upright."""
        for (x, y), (to_x, to_y) in pairwise(points):
            length = round(abs(to_x - x) + abs(to_y - y)) or 1
            for start in range(0, length, 2 * dash):
                ends = [each / length for each in (start, min(start + dash, length))]
                self.line([(x + (to_x - x) * part, y + (to_y - y) * part) for part in ends], colour, width)

    def dot(self, x: float, y: float, colour: str, radius: int = 5) -> None:
        side = 2 * radius + 1
        large = Image.new("L", (side * _FINER, side * _FINER))
        ImageDraw.Draw(large).ellipse((0, 0, side * _FINER - 1, side * _FINER - 1), fill=255)
        mask = large.resize((side, side), Image.Resampling.BOX)
        self.image.paste(Image.new("RGB", mask.size, colour), (round(x) - radius, round(y) - radius), mask)

    def png(self) -> bytes:
        picture = io.BytesIO()
        self.image.save(picture, format="png")
        return picture.getvalue()


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
