"""The pictures of a comparison: metric against size and latency with the Pareto front, gains with their intervals."""

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

MOST_TASKS = 8  # data sets and metrics that are drawn, those with most configurations; all are in the tables
MOST_DROPS = 40  # configurations in the drop chart, the best; all are in the tables


def charts(comparison: Comparison) -> Iterator[tuple[str, Chart]]:
    """(file name without ending, chart), for each data set and metric among the configurations, up to MOST_TASKS."""
    counted = Counter(each.task for each in comparison.configurations)
    tasks = [task for task, _ in counted.most_common(MOST_TASKS)]
    for task in tasks:
        found = [each for each in comparison.configurations if each.task == task]
        end = f"_{_file_name(task, tasks)}" if len(counted) > 1 else ""
        yield f"metric_against_size{end}", _against(found, task, "size_bytes", 1024, "size, KiB")
        timed = [each for each in found if each.latency_ms is not None]
        if timed:
            yield f"metric_against_latency{end}", _against(timed, task, "latency_ms", 1, "latency, ms, batch 1")
        dropped = [each for each in found if each.drop is not None]
        if dropped:
            yield f"drop{end}", _drops(dropped[:MOST_DROPS], task, whole=len(dropped) <= MOST_DROPS)


def _file_name(task: str, tasks: Sequence[str]) -> str:
    """
    >>> _file_name("my data/1, auc", ["digits, accuracy", "my data/1, auc"])
    '2_my_data_1_auc'
    """
    return f"{tasks.index(task) + 1}_{re.sub(r'[^A-Za-z0-9]+', '_', task)[:40].strip('_')}"


def unit_of(found: Configuration) -> tuple[float, str]:
    """(factor, unit) by which a metric is shown: accuracy in per cent."""
    return (100.0, " %") if found.rows[0].measured.metric == "accuracy" else (1.0, "")


def _series(found: Sequence[Configuration], points: Sequence[Point]) -> tuple[Series, ...]:
    names = sorted({each.variant for each in found}, key=lambda name: (name not in VARIANT_COLOURS, name))
    return tuple(
        Series(name, colour_of(name), tuple(p for each, p in zip(found, points, strict=True) if each.variant == name))
        for name in names
    )


def _against(found: Sequence[Configuration], task: str, cost: str, divisor: float, label: str) -> Chart:
    factor, unit = unit_of(found[0])
    points = []
    for each in found:
        x, y, half = getattr(each, cost) / divisor, each.value.mean * factor, (each.value.half_width or 0) * factor
        interval = f" ± {half:.2f}" if each.value.half_width is not None else ""
        text = f"{each.label}\n{each.variant}: {y:.2f}{interval}{unit}, {x:.4g} {label.split(', ')[1]}"
        ends = (
            (y - half, min(y + half, factor if unit else math.inf))
            if each.value.half_width is not None
            else (None, None)
        )
        points.append(Point(x, y, f"{text}, seeds: {each.seeds}", *ends))
    flag = "on_size_front" if cost == "size_bytes" else "on_latency_front"
    corners = sorted((p.x, p.y) for each, p in zip(found, points, strict=True) if getattr(each, flag))
    metric = found[0].rows[0].measured.metric
    title = f"{task}: {metric} against {label.split(',')[0]}"
    return Chart(title, label, f"{metric}{',' if unit else ''}{unit}", _series(found, points), tuple(corners))


def _aside(variant: str, variants: Sequence[str]) -> float:
    """A little above or below the line, so that the intervals of two variants do not cover each other."""
    return 0.24 * ((variants.index(variant) + 0.5) / len(variants) - 0.5)


def gained(drop: Mean) -> Mean:
    """What is lost as what is gained: people read a plus as better."""
    return Mean(-drop.mean, drop.half_width, drop.n)


def _drops(found: Sequence[Configuration], task: str, *, whole: bool) -> Chart:
    factor, _ = unit_of(found[0])
    labels = list(dict.fromkeys(each.label for each in found))
    points = []
    variants = sorted({each.variant for each in found})
    for each in found:
        assert each.drop is not None
        gain = gained(each.drop)
        half = None if gain.half_width is None else gain.half_width * factor
        x, y = gain.mean * factor, len(labels) - 1 - labels.index(each.label) + _aside(each.variant, variants)
        ends = (None, None) if half is None else (x - half, x + half)
        words = f"{each.label}\n{each.variant}: {x:+.2f}{'' if half is None else f' ± {half:.2f}'}, seeds: {each.seeds}"
        points.append(Point(x, y, words, *ends))
    unit = "points" if factor == 100 else "units of the metric"
    title = f"{task}: better or worse than float{'' if whole else f', the best {len(found)}'}"
    return Chart(
        title, f"vs float, {unit} (right is better)", "", _series(found, points), y_names=tuple(reversed(labels))
    )
