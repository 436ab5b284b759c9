"""Curves over the epochs, and values with their intervals, as SVG that a page holds inline."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from qat.reporting.chart import span, ticks
from qat.reporting.colours import on_page
from qat.reporting.page import dot

WIDTH, HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 10, 40
_MARK = 3  # radius of a point: at the ends of the axis it is whole
_TOP_WITH_WORDS = 26  # room above the curves for what a line across them means
OUTSIDE = "Earlier epochs lie outside of the axis."


@dataclass(frozen=True)
class Line:
    """Points (epoch, value) in their order; a single point is a level."""

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


def lines_svg(title: str, lines: Sequence[Line], *, from_epoch: float | None = None) -> str:
    """A figure with its legend; `from_epoch` is where quantization-aware training begins."""
    xs = [x for line in lines for x, _ in line.points]
    low_x, high_x = min(xs), max(max(xs), min(xs) + 1)
    late = max((low_x + high_x) / 2, (from_epoch or 0) - 1)  # early epochs would squeeze the rest to one line
    low, high = _value_span(lines, late)
    outside = any(not low <= y <= high for line in lines for _, y in line.points)
    if outside:  # from where its values are seen, and so that one sees where QAT begins
        low_x = max(low_x, math.floor(late if from_epoch is None else min(late, from_epoch - 1)))
    begins = from_epoch is not None and low_x < from_epoch < high_x
    top, bottom = _TOP_WITH_WORDS if begins else _TOP, HEIGHT - _BOTTOM

    def at_x(x: float) -> float:
        room = WIDTH - _LEFT - _RIGHT - 2 * _MARK
        return round(_LEFT + _MARK + (x - low_x) / (high_x - low_x) * room, 1)

    def at_y(y: float) -> float:
        return round(HEIGHT - _BOTTOM - (y - low) / (high - low) * (bottom - top), 1)

    parts = [_tick_y(value, at_y(value)) for value in ticks(low, high)]
    parts += [_tick_x(value, at_x(value)) for value in ticks(low_x, high_x) if value == int(value)]
    if begins:
        parts += _beginning(at_x(from_epoch), bottom)
    drawn = "".join(_curve(line, at_x, at_y) for line in lines)
    box = f'<svg x="{_LEFT}" y="{top}" width="{WIDTH - _LEFT - _RIGHT}" height="{bottom - top}" overflow="hidden"'
    parts.append(f'{box} viewBox="{_LEFT} {top} {WIDTH - _LEFT - _RIGHT} {bottom - top}">{drawn}</svg>')
    parts.append(
        f'<text class="soft" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">epoch</text>'
    )
    told = f'<p class="soft">{OUTSIDE}</p>' if outside else ""
    return _figure(title, HEIGHT, parts, _legend(lines) + told)


def _beginning(x: float, bottom: float) -> list[str]:
    """A line across the curves, its word above them: within, it would lie on points."""
    path = f"M{x} {_TOP_WITH_WORDS - 6}V{bottom}"
    line = f'<path class="axis" stroke-dasharray="4 3" style="stroke:var(--soft)" d="{path}"/>'
    anchor = "start" if x < WIDTH / 2 else "end"
    return [line, f'<text class="soft" x="{x}" y="14" text-anchor="{anchor}">QAT begins</text>']


def _value_span(lines: Sequence[Line], late: float) -> tuple[float, float]:
    values = [y for line in lines for x, y in line.points if x >= late or len(line.points) == 1]
    return span(values or [y for line in lines for _, y in line.points])


def _curve(line: Line, at_x, at_y) -> str:
    dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
    colour = on_page(line.colour)
    if len(line.points) == 1:
        path = f"M{_LEFT} {at_y(line.points[0][1])}H{WIDTH - _RIGHT}"
    else:
        path = "M" + "L".join(f"{at_x(x)} {at_y(y)}" for x, y in line.points)
    marks = "".join(
        f'<circle cx="{at_x(x)}" cy="{at_y(y)}" r="{_MARK - 0.4}" fill="{colour}"/>' for x, y in line.points
    )
    name = html.escape(line.name)
    return (
        f'<g><title>{name}</title><path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>{marks}</g>'
    )


def _tick_y(value: float, y: float) -> str:
    return (
        f'<path class="axis" d="M{_LEFT} {y}H{WIDTH - _RIGHT}"/>'
        f'<text class="soft" x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>'
    )


def _tick_x(value: float, x: float) -> str:
    return f'<text class="soft" x="{x}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:g}</text>'


def _legend(lines: Sequence[Line]) -> str:
    return "".join(f'<span class="key">{dot(on_page(line.colour))}{html.escape(line.name)}</span>' for line in lines)


def _figure(title: str, height: float, parts: Sequence[str], below: str = "") -> str:
    name = html.escape(title)
    svg = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">{"".join(parts)}</svg>'
    return f"<figure><figcaption>{name}</figcaption>{svg}<div>{below}</div></figure>"


@dataclass(frozen=True)
class Worth:
    """A value in words and as a number, the ends of its interval where it has one, and a remark beside it."""

    name: str
    colour: str
    value: float
    words: str
    interval: tuple[float, float] | None = None
    remark: str = ""


def worth_svg(title: str, rows: Sequence[Worth], *, from_zero: bool = False) -> str:
    """A dot a row with its interval, one below the other on one axis; `from_zero` draws bars that begin there."""
    step, top, left, right = 44, 8, 16, WIDTH - 16
    height = top + step * len(rows) + 24
    ends = [end for row in rows for end in (row.value, *(row.interval or ()))]
    low, high = span([0.0, *ends] if from_zero else ends)
    low = 0.0 if from_zero and min(ends) >= 0 else low

    def at_x(value: float) -> float:
        return round(left + (value - low) / (high - low) * (right - left), 1)

    parts = []
    for value in ticks(low, high):
        parts.append(f'<path class="axis" d="M{at_x(value)} {top}V{height - 24}"/>')
        parts.append(f'<text class="soft" x="{at_x(value)}" y="{height - 6}" text-anchor="middle">{value:g}</text>')
    for place, row in enumerate(rows):
        y = top + step * place + 30
        parts.append(f'<text x="{left}" y="{y - 12}">{html.escape(row.name)}</text>')
        parts.append(f'<text x="{right}" y="{y - 12}" text-anchor="end">{html.escape(row.words)}</text>')
        parts += _worth_mark(row, y, at_x, at_x(0.0) if from_zero else None)
    return _figure(title, height, parts)


def _worth_mark(row: Worth, y: float, at_x, zero: float | None) -> list[str]:
    x, colour, parts = at_x(row.value), on_page(row.colour), []
    if zero is not None:
        start, width = min(zero, x), abs(x - zero)
        parts.append(f'<rect x="{start}" y="{y - 7}" width="{width:.1f}" height="14" fill="{colour}" opacity=".35"/>')
    if row.interval is not None:
        path = f"M{at_x(row.interval[0])} {y}H{at_x(row.interval[1])}"
        parts.append(f'<path d="{path}" stroke="{colour}" stroke-width="3" opacity=".6"/>')
    parts.append(f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}"/>')
    if row.remark:
        after = x < WIDTH / 2
        edge = at_x((row.interval or (row.value, row.value))[after]) + (10 if after else -10)
        anchor = "start" if after else "end"
        parts.append(f'<text x="{edge}" y="{y + 4}" text-anchor="{anchor}">{html.escape(row.remark)}</text>')
    return parts


def ranges_svg(title: str, rows: Sequence[tuple[str, float, float, str]]) -> str:
    """(name, low, high, colour): a bar a row from low to high, with both numbers, on one axis."""
    step, top, left, right = 44, 8, 16, WIDTH - 16
    low, high = span([end for _, *ends, _ in rows for end in ends])

    def at_x(value: float) -> float:
        return round(left + (value - low) / (high - low) * (right - left), 1)

    parts = []
    for place, (name, start, end, colour) in enumerate(rows):
        y = top + step * place
        words = html.escape(f"{name} [{start:.4g}, {end:.4g}]")
        box = f'x="{at_x(start)}" y="{y + 20}" width="{max(at_x(end) - at_x(start), 2):.1f}" height="14" rx="2"'
        parts.append(f'<text x="{left}" y="{y + 14}">{words}</text><rect {box} fill="{on_page(colour)}"/>')
    return _figure(title, top + step * len(rows), parts)
