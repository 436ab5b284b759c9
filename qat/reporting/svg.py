"""What all charts of a page share: frame, scales, ticks and legend, as SVG that a page holds inline."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence

from qat.reporting.chart import compute_ticks
from qat.reporting.colours import page_colour
from qat.reporting.page import dot

WIDTH, HEIGHT = 460, 280

Limits = tuple[float, float]
Scale = Callable[[float], float]


def make_scale(limits: Limits, start: float, end: float) -> Scale:
    """The place of a value on an axis.

    Args:
        limits: (low, high) of the axis, in its unit.
        start: place of `low`, in units of the SVG.
        end: place of `high`; below `start` for an axis that goes upwards.

    Returns:
        A function of a value to its place, rounded to a tenth.
    """
    low, high = limits
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 1)


def ticks_below(limits: Limits, at_x: Scale, top: float, bottom: float, gap: float = 16) -> list[str]:
    """Vertical lines at round values, and the values below them.

    Args:
        limits: (low, high) of the axis, in its unit.
        at_x: the axis' scale.
        top: where the lines begin, in units of the SVG.
        bottom: where they end.
        gap: from there down to the values.

    Returns:
        Elements of SVG.
    """
    parts = []
    for value in compute_ticks(*limits):
        parts.append(f'<path class="axis" d="M{at_x(value)} {top}V{bottom}"/>')
        parts.append(f'<text class="soft" x="{at_x(value)}" y="{bottom + gap}" text-anchor="middle">{value:g}</text>')
    return parts


def ticks_left(limits: Limits, at_y: Scale, left: float, right: float) -> list[str]:
    """Horizontal lines at round values, and the values to their left.

    Args:
        limits: (low, high) of the axis, in its unit.
        at_y: the axis' scale.
        left: where the lines begin, in units of the SVG.
        right: where they end.

    Returns:
        Elements of SVG.
    """
    parts = []
    for value in compute_ticks(*limits):
        parts.append(f'<path class="axis" d="M{left} {at_y(value)}H{right}"/>')
        parts.append(f'<text class="soft" x="{left - 6}" y="{at_y(value) + 4}" text-anchor="end">{value:g}</text>')
    return parts


def legend(series: Iterable[tuple[str, str]]) -> str:
    """The keys of the series, (name, colour) each, as HTML."""
    return "".join(f'<span class="key">{dot(page_colour(colour))}{html.escape(name)}</span>' for name, colour in series)


def figure(title: str, height: float, parts: Sequence[str], below: str = "") -> str:
    """The chart with its title.

    Args:
        title: plain text, which is escaped.
        height: height of the SVG, whose width is `WIDTH`.
        parts: elements of SVG.
        below: HTML below it, as a legend; "" for none.

    Returns:
        HTML of a <figure>.
    """
    name = html.escape(title)
    svg = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">{"".join(parts)}</svg>'
    return f"<figure><figcaption>{name}</figcaption>{svg}<div>{below}</div></figure>"
