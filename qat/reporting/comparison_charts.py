"""The charts of a comparison: metric against size and latency with the Pareto front, gains with their intervals."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from qat.comparison.comparison import Comparison
from qat.comparison.configurations import Configuration
from qat.confidence import Mean
from qat.reporting.chart import Chart, Point, Series
from qat.reporting.colours import VARIANT_COLOURS, colour_of
from qat.tasks import is_in_percent

MOST_TASKS = 8  # data sets and metrics that are drawn, those with most configurations; all are in the tables
MOST_DROPS = 40  # configurations in the drop chart, the best; all are in the tables


def build_charts(comparison: Comparison) -> Iterator[tuple[str, Chart]]:
    """(file name without ending, chart), for each data set and metric among the configurations, up to MOST_TASKS."""
    counted = Counter(each.task for each in comparison.configurations)
    tasks = [task for task, _ in counted.most_common(MOST_TASKS)]
    for task in tasks:
        group = [each for each in comparison.configurations if each.task == task]
        suffix = f"_{_file_name(task, tasks)}" if len(counted) > 1 else ""
        yield f"metric_against_size{suffix}", _metric_against_cost(group, task, "size_bytes", 1024, "size, KiB")
        timed = [each for each in group if each.latency_ms is not None]
        if timed:
            yield (
                f"metric_against_latency{suffix}",
                _metric_against_cost(timed, task, "latency_ms", 1, "latency, ms, batch 1"),
            )
        dropped = [each for each in group if each.drop is not None]
        if dropped:
            yield f"drop{suffix}", _gain_chart(dropped[:MOST_DROPS], task, all_drawn=len(dropped) <= MOST_DROPS)


def _file_name(task: str, tasks: Sequence[str]) -> str:
    """
    >>> _file_name("my data/1, auc", ["digits, accuracy", "my data/1, auc"])
    '2_my_data_1_auc'
    """
    return f"{tasks.index(task) + 1}_{re.sub(r'[^A-Za-z0-9]+', '_', task)[:40].strip('_')}"


def select_unit(metric: str) -> tuple[float, str]:
    """(factor, unit) by which a metric is shown: a share in per cent."""
    return (100.0, " %") if is_in_percent(metric) else (1.0, "")


def _series(configurations: Sequence[Configuration], points: Sequence[Point]) -> tuple[Series, ...]:
    names = sorted({each.variant for each in configurations}, key=lambda name: (name not in VARIANT_COLOURS, name))
    return tuple(
        Series(
            name,
            colour_of(name),
            tuple(p for each, p in zip(configurations, points, strict=True) if each.variant == name),
        )
        for name in names
    )


def _metric_against_cost(
    configurations: Sequence[Configuration], task: str, cost: str, divisor: float, label: str
) -> Chart:
    factor, unit = select_unit(configurations[0].rows[0].measured.metric)
    points = []
    for each in configurations:
        x, y, half_width = (
            getattr(each, cost) / divisor,
            each.value.mean * factor,
            (each.value.half_width or 0) * factor,
        )
        interval = f" ± {half_width:.2f}" if each.value.half_width is not None else ""
        words = f"{each.label}\n{each.variant}: {y:.2f}{interval}{unit}, {x:.4g} {label.split(', ')[1]}"
        limits = (
            (max(y - half_width, 0 if unit else -math.inf), min(y + half_width, factor if unit else math.inf))
            if each.value.half_width is not None
            else (None, None)
        )
        points.append(Point(x, y, f"{words}, seeds: {each.seeds}", *limits))
    flag = "on_size_front" if cost == "size_bytes" else "on_latency_front"
    corners = sorted((p.x, p.y) for each, p in zip(configurations, points, strict=True) if getattr(each, flag))
    metric = configurations[0].rows[0].measured.metric
    title = f"{task} against {label.split(',')[0]}"
    return Chart(title, label, f"{metric}{',' if unit else ''}{unit}", _series(configurations, points), tuple(corners))


def _offset(variant: str, variants: Sequence[str]) -> float:
    """A little above or below the line, so that the intervals of two variants do not cover each other."""
    return 0.24 * ((variants.index(variant) + 0.5) / len(variants) - 0.5)


def negate_drop(drop: Mean) -> Mean:
    """A drop as a gain: people read a plus as better."""
    return Mean(-drop.mean, drop.half_width, drop.n)


def _gain_chart(configurations: Sequence[Configuration], task: str, *, all_drawn: bool) -> Chart:
    factor, _ = select_unit(configurations[0].rows[0].measured.metric)
    labels = list(dict.fromkeys(each.label for each in configurations))
    points = []
    variants = sorted({each.variant for each in configurations})
    for each in configurations:
        assert each.drop is not None
        gain = negate_drop(each.drop)
        half_width = None if gain.half_width is None else gain.half_width * factor
        x, y = gain.mean * factor, len(labels) - 1 - labels.index(each.label) + _offset(each.variant, variants)
        limits = (None, None) if half_width is None else (x - half_width, x + half_width)
        interval = "" if half_width is None else f" ± {half_width:.2f}"
        words = f"{each.label}\n{each.variant}: {x:+.2f}{interval}, seeds: {each.seeds}"
        points.append(Point(x, y, words, *limits))
    unit = "points" if factor == 100 else "units of the metric"
    title = f"{task}: better or worse than float{'' if all_drawn else f', the best {len(configurations)}'}"
    return Chart(
        title,
        f"vs float, {unit} (right is better)",
        "",
        _series(configurations, points),
        y_names=tuple(reversed(labels)),
    )
