"""Series over the epochs, and values with their intervals, as SVG that a page holds inline."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from qat.reporting.chart import compute_ticks, padded_limits
from qat.reporting.colours import page_colour
from qat.reporting.svg import HEIGHT, WIDTH, Scale, figure, legend, make_scale, ticks_below, ticks_left

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 10, 40
_FEW_EPOCHS = 5  # all of which are shown, however far the first one lies
_THIN, _WIDER = 2.0, 1.3  # width of the last line, and by how much each before it is wider: one below another shows
_POINT_RADIUS = 3  # radius of a point: at the ends of the axis it is whole
_TOP_WITH_LABEL = 26  # space above the lines for the label of a line across them
OUTSIDE = "Earlier epochs lie outside of the axis."


@dataclass(frozen=True)
class Line:
    """Points (epoch, value) in their order; a single point is a level."""

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


def draw_line_chart(
    title: str, lines: Sequence[Line], *, from_epoch: float | None = None, highest: float = math.inf
) -> str:
    """The lines over the epochs as a figure with its legend.

    Args:
        title: text above the figure.
        lines: lines of (epoch, value) points, at least one point each, in one unit.
        from_epoch: number of the epoch where quantization-aware training begins, marked by a line; None for no mark.
        highest: the largest value that there can be, as 100 of per cents: no tick stands above it.

    Returns:
        HTML of a <figure> with inline SVG.
    """
    xs = [x for line in lines for x, _ in line.points]
    low_x, high_x = min(xs), max(max(xs), min(xs) + 1)
    late_epoch = low_x
    if high_x - low_x >= _FEW_EPOCHS:  # early ones would squeeze the rest to one line
        before_qat = from_epoch - max(1, high_x - from_epoch) if from_epoch is not None else low_x
        late_epoch = max((low_x + high_x) / 2, before_qat)
    low, high = _value_limits(lines, late_epoch)
    outside = any(not low <= y <= high for line in lines for _, y in line.points)
    if outside:  # from the first epoch whose values fit, but with the begin of QAT
        low_x = max(low_x, math.floor(late_epoch if from_epoch is None else min(late_epoch, from_epoch - 1)))
    shows_begin = from_epoch is not None and low_x < from_epoch < high_x
    top, bottom = _TOP_WITH_LABEL if shows_begin else _TOP, HEIGHT - _BOTTOM
    at_x = make_scale((low_x, high_x), _LEFT + _POINT_RADIUS, WIDTH - _RIGHT - _POINT_RADIUS)
    at_y = make_scale((low, high), bottom, top)
    parts = ticks_left((low, min(high, highest)), at_y, _LEFT, WIDTH - _RIGHT)
    parts += [_tick_x(value, at_x(value)) for value in compute_ticks(low_x, high_x) if value == int(value)]
    if shows_begin:
        parts += _qat_begin_mark(at_x(from_epoch), bottom)
    paths = "".join(
        _line_path(line, at_x, at_y, _THIN + _WIDER * (len(lines) - 1 - place)) for place, line in enumerate(lines)
    )
    box = f'<svg x="{_LEFT}" y="{top}" width="{WIDTH - _LEFT - _RIGHT}" height="{bottom - top}" overflow="hidden"'
    parts.append(f'{box} viewBox="{_LEFT} {top} {WIDTH - _LEFT - _RIGHT} {bottom - top}">{paths}</svg>')
    parts.append(
        f'<text class="soft" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">epoch</text>'
    )
    note = f'<p class="soft">{OUTSIDE}</p>' if outside else ""
    return figure(title, HEIGHT, parts, legend((line.name, line.colour) for line in lines) + note)


def _qat_begin_mark(x: float, bottom: float) -> list[str]:
    """A line across the chart, its label above it: within the chart it would cover points."""
    path = f"M{x} {_TOP_WITH_LABEL - 6}V{bottom}"
    line = f'<path class="axis" stroke-dasharray="4 3" style="stroke:var(--soft)" d="{path}"/>'
    anchor = "start" if x < WIDTH / 2 else "end"
    return [line, f'<text class="soft" x="{x}" y="14" text-anchor="{anchor}">QAT begins</text>']


def _value_limits(lines: Sequence[Line], late: float) -> tuple[float, float]:
    values = [y for line in lines for x, y in line.points if x >= late or len(line.points) == 1]
    return padded_limits(values or [y for line in lines for _, y in line.points])


def _line_path(line: Line, at_x: Scale, at_y: Scale, width: float) -> str:
    dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
    colour = page_colour(line.colour)
    if len(line.points) == 1:
        path = f"M{_LEFT} {at_y(line.points[0][1])}H{WIDTH - _RIGHT}"
    else:
        path = "M" + "L".join(f"{at_x(x)} {at_y(y)}" for x, y in line.points)
    marks = "".join(
        f'<circle cx="{at_x(x)}" cy="{at_y(y)}" r="{_POINT_RADIUS - 0.4}" fill="{colour}"/>' for x, y in line.points
    )
    name = html.escape(line.name)
    line_style = f'fill="none" stroke="{colour}" stroke-width="{width:g}"{dashes}'
    return f'<g><title>{name}</title><path d="{path}" {line_style}/>{marks}</g>'


def _tick_x(value: float, x: float) -> str:
    return f'<text class="soft" x="{x}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:g}</text>'


@dataclass(frozen=True)
class LabelledValue:
    """A value as text and as a number, the limits of its interval where it has one, and a remark next to it."""

    name: str
    colour: str
    value: float
    words: str
    interval: tuple[float, float] | None = None
    remark: str = ""


def draw_value_chart(title: str, rows: Sequence[LabelledValue], *, from_zero: bool = False) -> str:
    """A dot per row with its interval, one below the other on one axis.

    Args:
        title: text above the figure.
        rows: name, value and interval (low, high) of each row, all in one unit.
        from_zero: draw bars that begin at 0 in place of dots.

    Returns:
        HTML of a <figure> with inline SVG.
    """
    row_height, top, left, right = 44, 8, 16, WIDTH - 16
    height = top + row_height * len(rows) + 24
    limits = [end for row in rows for end in (row.value, *(row.interval or ()))]
    low, high = padded_limits([0.0, *limits] if from_zero else limits)
    low = 0.0 if from_zero and min(limits) >= 0 else low
    at_x = make_scale((low, high), left, right)
    parts = ticks_below((low, high), at_x, top, height - 24, gap=18)
    for index, row in enumerate(rows):
        y = top + row_height * index + 30
        parts.append(f'<text x="{left}" y="{y - 12}">{html.escape(row.name)}</text>')
        parts.append(f'<text x="{right}" y="{y - 12}" text-anchor="end">{html.escape(row.words)}</text>')
        parts += _value_mark(row, y, at_x, at_x(0.0) if from_zero else None)
    return figure(title, height, parts)


def _value_mark(row: LabelledValue, y: float, at_x: Scale, zero: float | None) -> list[str]:
    x, colour, parts = at_x(row.value), page_colour(row.colour), []
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


def draw_range_chart(title: str, rows: Sequence[tuple[str, float, float, str]]) -> str:
    """A bar per row from low to high, with both numbers, on one axis.

    Args:
        title: text above the figure.
        rows: (name, low, high, colour) of each bar, the numbers in one unit.

    Returns:
        HTML of a <figure> with inline SVG.
    """
    row_height, top, left, right = 44, 8, 16, WIDTH - 16
    at_x, parts = make_scale(padded_limits([limit for _, *limits, _ in rows for limit in limits]), left, right), []
    for index, (name, start, end, colour) in enumerate(rows):
        y = top + row_height * index
        words = html.escape(f"{name} [{start:.4g}, {end:.4g}]")
        box = f'x="{at_x(start)}" y="{y + 20}" width="{max(at_x(end) - at_x(start), 2):.1f}" height="14" rx="2"'
        parts.append(f'<text x="{left}" y="{y + 14}">{words}</text><rect {box} fill="{page_colour(colour)}"/>')
    return figure(title, top + row_height * len(rows), parts)
