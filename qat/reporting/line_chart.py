"""Curves over the epochs, and values with their intervals, as SVG that a page holds inline."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from qat.reporting.chart import span, ticks
from qat.reporting.colours import on_page
from qat.reporting.page import dot

WIDTH, HEIGHT = 460, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 10, 40
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

    def at_x(x: float) -> float:
        return round(_LEFT + (x - low_x) / (high_x - low_x) * (WIDTH - _LEFT - _RIGHT), 1)

    def at_y(y: float) -> float:
        return round(HEIGHT - _BOTTOM - (y - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

    bottom = HEIGHT - _BOTTOM
    parts = [_tick_y(value, at_y(value)) for value in ticks(low, high)]
    parts += [_tick_x(value, at_x(value)) for value in ticks(low_x, high_x) if value == int(value)]
    if from_epoch is not None and low_x < from_epoch < high_x:
        x = at_x(from_epoch)
        parts.append(f'<path class="axis" stroke-dasharray="4 3" style="stroke:var(--soft)" d="M{x} {_TOP}V{bottom}"/>')
        parts.append(f'<text class="soft" x="{x + 4}" y="{bottom - 6}">QAT begins</text>')
    drawn = "".join(_curve(line, at_x, at_y) for line in lines)
    box = f'<svg x="{_LEFT}" y="{_TOP}" width="{WIDTH - _LEFT - _RIGHT}" height="{bottom - _TOP}" overflow="hidden"'
    parts.append(f'{box} viewBox="{_LEFT} {_TOP} {WIDTH - _LEFT - _RIGHT} {bottom - _TOP}">{drawn}</svg>')
    parts.append(
        f'<text class="soft" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">epoch</text>'
    )
    told = f'<p class="soft">{OUTSIDE}</p>' if outside else ""
    return _figure(title, HEIGHT, parts, _legend(lines) + told)


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
    marks = "".join(f'<circle cx="{at_x(x)}" cy="{at_y(y)}" r="2.6" fill="{colour}"/>' for x, y in line.points)
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
    """A value in words and as a number, with the ends of its interval where it has one."""

    name: str
    colour: str
    value: float
    words: str
    interval: tuple[float, float] | None = None


def worth_svg(title: str, rows: Sequence[Worth]) -> str:
    """A dot a row with its interval, one below the other on one axis."""
    step, top = 44, 8
    height = top + step * len(rows) + 24
    ends = [end for row in rows for end in (row.value, *(row.interval or ()))]
    low, high = span(ends)
    left, right = 16, WIDTH - 16

    def at_x(value: float) -> float:
        return round(left + (value - low) / (high - low) * (right - left), 1)

    bottom = height - 24
    parts = []
    for value in ticks(low, high):
        parts.append(f'<path class="axis" d="M{at_x(value)} {top}V{bottom}"/>')
        parts.append(f'<text class="soft" x="{at_x(value)}" y="{height - 6}" text-anchor="middle">{value:g}</text>')
    for place, row in enumerate(rows):
        y, x, colour = top + step * place + 30, at_x(row.value), on_page(row.colour)
        if row.interval is not None:
            path = f"M{at_x(row.interval[0])} {y}H{at_x(row.interval[1])}"
            parts.append(f'<path d="{path}" stroke="{colour}" stroke-width="3" opacity=".6"/>')
        parts.append(f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}"/>')
        parts.append(f'<text x="{left}" y="{y - 12}">{html.escape(row.name)}  {html.escape(row.words)}</text>')
    return _figure(title, height, parts)
