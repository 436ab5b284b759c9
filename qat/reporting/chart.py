"""A scatter chart as plain numbers, and drawn by matplotlib as PNG; `qat.reporting.scatter_svg` draws it for a page."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qat.reporting.figures import make_figure, plain, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST_TICKS, _MOST_TICKS = 3, 8
HEIGHT, ROW, LINE = 400, 40, 13  # of the PNG, of a row of a sideways chart without its name, of a line of a name


@dataclass(frozen=True)
class Point:
    """`low` and `high` bound its interval; `text` is shown when the pointer rests on it."""

    x: float
    y: float
    text: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points of one name and colour."""

    name: str
    colour: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Chart:
    """`front`: the corners of a Pareto front, drawn as steps. `y_names` labels 0, 1, … of a sideways chart."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    front: tuple[tuple[float, float], ...] = ()
    y_names: tuple[str, ...] = ()


def compute_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers for the ticks of an axis: multiples of 1, 2 or 5 times a power of ten.

    >>> compute_ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]

    Args:
        low: lower limit of the axis, in the axis' unit.
        high: upper limit of the axis, in the same unit; not above `low` gives one tick.
        count: about how many ticks to give.

    Returns:
        Ticks within the limits, ascending, in the same unit.
    """
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    interval = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / interval - 1e-9)
    ticks = [round(n * interval, 12) for n in range(first, math.floor(high / interval + 1e-9) + 1)]
    return ticks if len(ticks) >= _FEWEST_TICKS or count > _MOST_TICKS else compute_ticks(low, high, 2 * count)


def wrap_names(names: Sequence[str], width: int, most_lines: int = 4) -> list[list[str]]:
    """Names wrapped into lines; what is cut is numbered, so that no two read the same.

    >>> wrap_names(["model=resnet8 seed=3"], 14)
    [['model=resnet8', 'seed=3']]

    Args:
        names: one line of text each.
        width: longest line, in characters.
        most_lines: the most lines per name; of more, the last one is cut and numbered.

    Returns:
        One list of lines per name, in their order.
    """
    wrap = [textwrap.wrap(name, width) or [""] for name in names]
    return [
        lines
        if len(lines) <= most_lines
        else [*lines[: most_lines - 1], f"{lines[most_lines - 1][: width - 8]}… ({number})"]
        for number, lines in enumerate(wrap, 1)
    ]


def padded_limits(values: Sequence[float]) -> tuple[float, float]:
    """Minimum and maximum of the values with 6 % of padding on both sides; never equal.

    >>> padded_limits([40.0, 40.000001]) == padded_limits([40.0, 40.0])  # what float32 makes of one number
    True
    """
    low, high = min(values), max(values)
    if math.isclose(low, high, rel_tol=1e-6):
        low = high = values[0]
    padding = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return low - padding, high + padding


def draw_png(chart: Chart) -> bytes:
    """The chart drawn by matplotlib, as PNG of about 780 pixels in width, legible in TensorBoard's thumbnails, too."""
    names = [[plain(line) for line in lines] for lines in wrap_names(chart.y_names, 30)]
    height = max(HEIGHT, 100 + len(names) * (ROW + LINE * (max(map(len, names), default=1) - 1)))
    figure = make_figure(5.6, height / 90, 140, "constrained")
    axes = figure.subplots()
    for series in chart.series:
        _scatter(axes, series, sideways=bool(chart.y_names))
    if len(chart.front) > 1:
        xs, ys = zip(*chart.front, strict=True)
        axes.step(xs, ys, where="post", color="#888888", linewidth=1, linestyle="--", label="Pareto front", zorder=1)
    if chart.y_names:
        axes.set_yticks(range(len(names)), ["\n".join(lines) for lines in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_title(plain(chart.title), fontsize=10)
    axes.set_xlabel(plain(chart.x_label))
    axes.set_ylabel(plain(chart.y_label))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside lower center", ncols=4)
    return to_png(figure)


def _scatter(axes: Axes, series: Series, *, sideways: bool) -> None:
    with_interval = [point for point in series.points if point.low is not None and point.high is not None]
    if with_interval:
        lengths = [
            [p.x - p.low for p in with_interval] if sideways else [p.y - p.low for p in with_interval],
            [p.high - p.x for p in with_interval] if sideways else [p.high - p.y for p in with_interval],
        ]
        error = {"xerr": lengths} if sideways else {"yerr": lengths}
        axes.errorbar(
            [p.x for p in with_interval],
            [p.y for p in with_interval],
            fmt="none",
            ecolor=series.colour,
            alpha=0.6,
            **error,
        )
    xs, ys = [p.x for p in series.points], [p.y for p in series.points]
    axes.scatter(xs, ys, color=series.colour, label=plain(series.name), s=28, zorder=3, edgecolors="white")
