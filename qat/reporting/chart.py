"""A scatter chart as plain numbers, and drawn: SVG that a page holds inline, PNG by matplotlib."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from qat.reporting.colours import on_page

WIDTH, HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 44, 50


@dataclass(frozen=True)
class Point:
    """`low` and `high` are the ends of its interval; `text` is said when the pointer rests on it."""

    x: float
    y: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    name: str
    colour: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Chart:
    """`front`: the corners of a Pareto front, drawn as steps. `y_names` labels whole numbers of a sideways chart."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    front: tuple[tuple[float, float], ...] = ()
    y_names: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return max(HEIGHT, _TOP + _BOTTOM + 22 * len(self.y_names)) if self.y_names else HEIGHT


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers between two ends.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        return [low]
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def shortened(name: str, most: int = 44) -> str:
    """Both ends of a long name, where what tells it from others mostly stands.

    >>> shortened("model=mobilenet quant=qat seed=3", 21)
    'model=mobi…qat seed=3'
    """
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most - most // 2 - 1) :]}"


def span(values: Sequence[float]) -> tuple[float, float]:
    """Both ends with some air; never empty."""
    low, high = min(values), max(values)
    air = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return low - air, high + air


def svg(chart: Chart) -> str:
    """The chart as an <svg> element; every text in it is escaped."""
    x_span, y_span = _spans(chart)
    left = _LEFT if not chart.y_names else 330
    height = chart.height

    def at_x(value: float) -> float:
        return round(left + (value - x_span[0]) / (x_span[1] - x_span[0]) * (WIDTH - left - _RIGHT), 1)

    def at_y(value: float) -> float:
        return round(height - _BOTTOM - (value - y_span[0]) / (y_span[1] - y_span[0]) * (height - _TOP - _BOTTOM), 1)

    parts = [*_grid(chart, x_span, y_span, at_x, at_y, left), *_front(chart, at_x, at_y)]
    for series in chart.series:
        parts += [_mark(series, point, at_x, at_y, sideways=bool(chart.y_names)) for point in series.points]
    parts += _legend(chart, left)
    name = html.escape(chart.title)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">'
        f'<text x="{left}" y="16" class="title">{name}</text>{"".join(parts)}</svg>'
    )


def _spans(chart: Chart) -> tuple[tuple[float, float], tuple[float, float]]:
    points = [point for series in chart.series for point in series.points]
    ends = [end for point in points for end in (point.low, point.high) if end is not None]
    xs, ys = [point.x for point in points], [point.y for point in points]
    if chart.y_names:
        return span([*xs, *ends, 0.0]), (-0.7, len(chart.y_names) - 0.3)
    return span(xs), span([*ys, *ends])


def _grid(chart: Chart, x_span, y_span, at_x, at_y, left: int) -> list[str]:
    bottom, right = chart.height - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for value in ticks(*x_span):
        x = at_x(value)
        parts.append(f'<path class="grid" d="M{x} {_TOP}V{bottom}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>')
    rows = [(float(n), name) for n, name in enumerate(chart.y_names)] or [(v, f"{v:g}") for v in ticks(*y_span)]
    for value, name in rows:
        y = at_y(value)
        shown = shortened(name)
        parts.append(f'<path class="grid" d="M{left} {y}H{right}"/>')
        parts.append(
            f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{html.escape(shown)}'
            f"<title>{html.escape(name)}</title></text>"
        )
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 38}" text-anchor="middle">{html.escape(chart.x_label)}</text>')
    if chart.y_label:
        y = (_TOP + bottom) / 2
        turned = f'transform="rotate(-90 14 {y})"'
        parts.append(f'<text x="14" y="{y}" text-anchor="middle" {turned}>{html.escape(chart.y_label)}</text>')
    return parts


def _front(chart: Chart, at_x, at_y) -> list[str]:
    if len(chart.front) < 2:
        return []
    path = f"M{at_x(chart.front[0][0])} {at_y(chart.front[0][1])}"
    path += "".join(f"H{at_x(x)}V{at_y(y)}" for x, y in chart.front[1:])
    return [f'<path class="front" d="{path}"/>']


def _mark(series: Series, point: Point, at_x, at_y, *, sideways: bool) -> str:
    x, y, bar = at_x(point.x), at_y(point.y), ""
    if point.low is not None and point.high is not None:
        line = (
            f"M{at_x(point.low)} {y}H{at_x(point.high)}" if sideways else f"M{x} {at_y(point.low)}V{at_y(point.high)}"
        )
        bar = f'<path d="{line}" stroke="{on_page(series.colour)}" stroke-width="1.5" opacity="0.6"/>'
    return (
        f'<g>{bar}<circle cx="{x}" cy="{y}" r="5" fill="{on_page(series.colour)}" stroke="white"/>'
        f"<title>{html.escape(point.text)}</title></g>"
    )


def _legend(chart: Chart, left: int) -> list[str]:
    parts, x = [], left
    for series in chart.series:
        parts.append(f'<circle cx="{x + 5}" cy="30" r="5" fill="{on_page(series.colour)}"/>')
        parts.append(f'<text x="{x + 14}" y="34">{html.escape(series.name)}</text>')
        x += 30 + 7 * len(series.name)
    return parts


def png(chart: Chart) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, chart.height / 90), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for series in chart.series:
        _scatter(axes, series, sideways=bool(chart.y_names))
    if len(chart.front) > 1:
        xs, ys = zip(*chart.front, strict=True)
        axes.step(xs, ys, where="post", color="#888888", linewidth=1, linestyle="--", label="Pareto front", zorder=1)
    if chart.y_names:
        names = [_plain(shortened(name)) for name in chart.y_names]
        axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_title(_plain(chart.title), fontsize=10)
    axes.set_xlabel(_plain(chart.x_label))
    axes.set_ylabel(_plain(chart.y_label))
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower center", ncols=6)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _scatter(axes, series: Series, *, sideways: bool) -> None:
    bars = [point for point in series.points if point.low is not None and point.high is not None]
    if bars:
        ends = [
            [p.x - p.low for p in bars] if sideways else [p.y - p.low for p in bars],
            [p.high - p.x for p in bars] if sideways else [p.high - p.y for p in bars],
        ]
        error = {"xerr": ends} if sideways else {"yerr": ends}
        axes.errorbar([p.x for p in bars], [p.y for p in bars], fmt="none", ecolor=series.colour, alpha=0.6, **error)
    xs, ys = [p.x for p in series.points], [p.y for p in series.points]
    axes.scatter(xs, ys, color=series.colour, label=_plain(series.name), s=28, zorder=3, edgecolors="white")


def _plain(text: str) -> str:
    """Text that matplotlib takes for no formula."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(each if each.isprintable() else " " for each in shown).replace("$", r"\$")
