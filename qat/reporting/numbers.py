"""Numbers of a result as people read them: an accuracy in per cent, a difference in points, better is positive."""

from __future__ import annotations

from qat.results import Metric
from qat.tasks import is_in_percent

SIGNIFICANT = 0.05  # McNemar's p below which a difference counts as more than noise


def format_value(metric: Metric, value: float | None = None) -> str:
    """A value in the metric's unit: per cent for accuracy, else four digits.

    >>> format_value(Metric("accuracy", 0.98247)), format_value(Metric("auc", 0.5), 0.91234)
    ('98.25 %', '0.9123')

    Args:
        metric: name and value; the name decides the unit.
        value: another value to write, 0-1 for accuracy; None writes the metric's own.

    Returns:
        The number with its unit, as "98.25 %".
    """
    number = metric.value if value is None else value
    return f"{number * 100:.2f} %" if is_in_percent(metric.name) else f"{number:.4f}"


def format_latency(milliseconds: float | None) -> str:
    """Three digits with their unit; empty where nothing was measured.

    >>> format_latency(0.14), format_latency(0.1587), format_latency(123.4), format_latency(None)
    ('0.140 ms', '0.159 ms', '123 ms', '')
    """
    return "" if milliseconds is None else f"{milliseconds:#.3g}".rstrip(".") + " ms"


def format_gain(metric: Metric, reference: Metric) -> str:
    """How much better than `reference`, with its sign: points of accuracy, else the metric's own unit.

    >>> format_gain(Metric("accuracy", 0.9825), Metric("accuracy", 0.9809))
    '+0.16'
    >>> format_gain(Metric("error", 0.25, higher_is_better=False), Metric("error", 0.2, higher_is_better=False))
    '-0.0500'

    Args:
        metric: metric of the file (accuracy as 0-1).
        reference: the same metric of the model that it is compared with.

    Returns:
        The signed number in points of accuracy (0-100) or the metric's unit, without the unit.
    """
    return format_signed(compute_gain(metric, reference), metric.name)


def compute_gain(metric: Metric, reference: Metric) -> float:
    """How much better than `reference` a metric is.

    Args:
        metric: metric of the file (accuracy as 0-1).
        reference: the same metric of the model that it is compared with.

    Returns:
        The difference in the metric's unit (accuracy: 0-1), positive where the file is better.
    """
    difference = metric.value - reference.value
    return difference if metric.higher_is_better else -difference


def format_signed(difference: float, name: str) -> str:
    """A difference with its sign, in points of accuracy (two digits), else in the metric's unit (four digits).

    Args:
        difference: number to write, in the metric's unit (accuracy: 0-1).
        name: name of the metric, as "accuracy".

    Returns:
        The signed number in points of accuracy (0-100) or the metric's unit, without the unit; never "-0.00".
    """
    factor, digits = (100, 2) if is_in_percent(name) else (1, 4)
    return f"{round(difference * factor, digits) + 0.0:+.{digits}f}"


def drop_name(metric: str) -> str:
    """The tag of the loss against float, by its unit: points (0-100) of accuracy, else the metric's own.

    >>> drop_name("accuracy"), drop_name("auc")
    ('drop_points', 'drop_auc')
    """
    return "drop_points" if is_in_percent(metric) else f"drop_{metric}"


def compute_drop(metric: Metric, reference: Metric) -> float:
    """How much worse than `reference`, in the unit of `drop_name`.

    >>> compute_drop(Metric("accuracy", 0.75), Metric("accuracy", 0.875))
    12.5
    >>> compute_drop(Metric("auc", 0.75), Metric("auc", 0.875))
    0.125

    Args:
        metric: metric of the file (accuracy as 0-1).
        reference: the same metric of the model that it is compared with.

    Returns:
        Points (0-100) of accuracy, else the metric's unit; positive where the file is worse.
    """
    return compute_gain(reference, metric) * (100 if is_in_percent(metric.name) else 1)


def format_interval(interval: tuple[float, float] | None) -> str:
    """An interval of an accuracy in per cent, without the sign; "" where there is none.

    >>> format_interval((0.9751, 0.988))
    '97.5-98.8'
    """
    return "" if interval is None else f"{interval[0] * 100:.1f}-{interval[1] * 100:.1f}"


def format_size(size_bytes: int) -> str:
    return f"{size_bytes / 1024:.1f} KiB"


def format_size_ratio(size_bytes: int, reference_bytes: int) -> str:
    """How a file's size compares, in words.

    >>> format_size_ratio(300, 850), format_size_ratio(300, 303), format_size_ratio(300, 200)
    ('2.8 times smaller than', 'as large as', '1.5 times as large as')

    Args:
        size_bytes: size of the file, in bytes.
        reference_bytes: size of the file that it is compared with, in bytes.

    Returns:
        Words for the place before the reference's name, as "2.8 times smaller than".
    """
    ratio = reference_bytes / max(size_bytes, 1)
    if ratio >= 1.05:
        return f"{ratio:.1f} times smaller than"
    return "as large as" if ratio > 0.95 else f"{1 / ratio:.1f} times as large as"
