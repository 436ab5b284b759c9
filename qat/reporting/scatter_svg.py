"""A scatter chart as SVG that a page holds inline; its texts stay legible on a phone."""

from __future__ import annotations

import html
from collections.abc import Sequence

from qat.reporting.chart import Chart, Point, Series, padded_limits, wrap_names
from qat.reporting.colours import page_colour
from qat.reporting.svg import HEIGHT, WIDTH, Scale, figure, legend, make_scale, ticks_below, ticks_left

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 10, 44
_EDGE, _LINE, _ROW = 16, 16, 30  # of a sideways chart: its left and right, a line of a name, a row below its name
_LETTERS = 62  # in a line of a name


def draw_scatter_chart(chart: Chart) -> str:
    """The chart as a figure with its legend; every text in it is escaped."""
    draw = _sideways if chart.y_names else _upright
    height, parts = draw(chart)
    return figure(chart.title, height, parts, legend((series.name, series.colour) for series in chart.series))


def _upright(chart: Chart) -> tuple[int, list[str]]:
    """Metric upwards, cost to the right."""
    points = [point for series in chart.series for point in series.points]
    x_limits, y_limits = (
        padded_limits([point.x for point in points]),
        padded_limits([*_interval_limits(points), *(point.y for point in points)]),
    )
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    at_x, at_y = make_scale(x_limits, _LEFT, right), make_scale(y_limits, bottom, _TOP)
    parts = ticks_below(x_limits, at_x, _TOP, bottom)
    parts += ticks_left(y_limits, at_y, _LEFT, right)
    middle = (_TOP + bottom) / 2
    rotation = f'text-anchor="middle" transform="rotate(-90 12 {middle})"'
    parts.append(f'<text class="soft" x="12" y="{middle}" {rotation}>{html.escape(chart.y_label)}</text>')
    parts.append(_label_below(chart.x_label, (_LEFT + right) / 2, HEIGHT))
    parts += _front(chart.front, at_x, at_y)
    for series in chart.series:
        parts += [_mark(series, point, at_x, at_y, sideways=False) for point in series.points]
    return HEIGHT, parts


def _sideways(chart: Chart) -> tuple[int, list[str]]:
    """A row per name, the name above it; values to the right."""
    points = [point for series in chart.series for point in series.points]
    names = wrap_names(chart.y_names, _LETTERS)
    row = _ROW + _LINE * max(map(len, names))
    bottom = _TOP + row * len(names)
    x_limits = padded_limits([*_interval_limits(points), *(point.x for point in points), 0.0])
    at_x = make_scale(x_limits, _EDGE, WIDTH - _EDGE)

    def at_y(value: float) -> float:
        return round(bottom - _ROW / 2 - value * row, 1)

    parts = ticks_below(x_limits, at_x, _TOP, bottom)
    parts.append(f'<path class="axis" style="stroke:var(--soft)" d="M{at_x(0)} {_TOP}V{bottom}"/>')
    for index, lines in enumerate(names):
        for line_number, text in enumerate(reversed(lines)):
            y = at_y(index) - _ROW / 2 - _LINE * line_number
            parts.append(f'<text x="{_EDGE}" y="{y}">{html.escape(text)}</text>')
    for series in chart.series:
        parts += [_mark(series, point, at_x, at_y, sideways=True) for point in series.points]
    parts.append(_label_below(chart.x_label, WIDTH / 2, bottom + _BOTTOM))
    return bottom + _BOTTOM, parts


def _interval_limits(points: Sequence[Point]) -> list[float]:
    return [limit for point in points for limit in (point.low, point.high) if limit is not None]


def _label_below(text: str, x: float, height: float) -> str:
    return f'<text class="soft" x="{x}" y="{height - 8}" text-anchor="middle">{html.escape(text)}</text>'


def _front(corners: Sequence[tuple[float, float]], at_x: Scale, at_y: Scale) -> list[str]:
    if len(corners) < 2:
        return []
    path = f"M{at_x(corners[0][0])} {at_y(corners[0][1])}" + "".join(f"H{at_x(x)}V{at_y(y)}" for x, y in corners[1:])
    return [f'<path class="axis" style="stroke:var(--soft)" stroke-dasharray="5 4" d="{path}"/>']


def _mark(series: Series, point: Point, at_x: Scale, at_y: Scale, *, sideways: bool) -> str:
    x, y, bar, colour = at_x(point.x), at_y(point.y), "", page_colour(series.colour)
    if point.low is not None and point.high is not None:
        line = (
            f"M{at_x(point.low)} {y}H{at_x(point.high)}" if sideways else f"M{x} {at_y(point.low)}V{at_y(point.high)}"
        )
        bar = f'<path d="{line}" stroke="{colour}" stroke-width="1.5" opacity="0.6"/>'
    return (
        f'<g>{bar}<circle cx="{x}" cy="{y}" r="5" fill="{colour}" stroke="white"/>'
        f"<title>{html.escape(point.text)}</title></g>"
    )
