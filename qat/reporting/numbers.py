"""Numbers of a result as people read them: an accuracy in per cent, a difference in points, better is positive."""

from __future__ import annotations

from qat.results import Metric

SIGNIFICANT = 0.05  # McNemar's p below which a difference counts as more than noise


def shown_in_percent(name: str) -> bool:
    return name == "accuracy"


def value_text(metric: Metric, value: float | None = None) -> str:
    """`value` (its own where there is none) in the metric's unit.

    >>> value_text(Metric("accuracy", 0.98247)), value_text(Metric("auc", 0.5), 0.91234)
    ('98.25 %', '0.9123')
    """
    number = metric.value if value is None else value
    return f"{number * 100:.2f} %" if shown_in_percent(metric.name) else f"{number:.4f}"


def gain_text(metric: Metric, reference: Metric) -> str:
    """How much better than `reference`: points of accuracy, else the metric's own unit.

    >>> gain_text(Metric("accuracy", 0.9825), Metric("accuracy", 0.9809))
    '+0.16'
    >>> gain_text(Metric("error", 0.25, higher_is_better=False), Metric("error", 0.2, higher_is_better=False))
    '-0.0500'
    """
    return signed_text(gain(metric, reference), metric.name)


def gain(metric: Metric, reference: Metric) -> float:
    difference = metric.value - reference.value
    return difference if metric.higher_is_better else -difference


def signed_text(difference: float, name: str) -> str:
    factor, digits = (100, 2) if shown_in_percent(name) else (1, 4)
    return f"{round(difference * factor, digits) + 0.0:+.{digits}f}"


def drop_name(metric: str) -> str:
    """What curves call the loss against float, by its unit: points (0-100) of accuracy, else the metric's own.

    >>> drop_name("accuracy"), drop_name("auc")
    ('drop_points', 'drop_auc')
    """
    return "drop_points" if shown_in_percent(metric) else f"drop_{metric}"


def drop(metric: Metric, reference: Metric) -> float:
    """How much worse than `reference`, in the unit of `drop_name`.

    >>> drop(Metric("accuracy", 0.75), Metric("accuracy", 0.875)), drop(Metric("auc", 0.75), Metric("auc", 0.875))
    (12.5, 0.125)
    """
    return gain(reference, metric) * (100 if shown_in_percent(metric.name) else 1)


def interval_text(interval: tuple[float, float] | None) -> str:
    """
    >>> interval_text((0.9751, 0.988))
    '97.5-98.8'
    """
    return "" if interval is None else f"{interval[0] * 100:.1f}-{interval[1] * 100:.1f}"


def size_text(size_bytes: int) -> str:
    return f"{size_bytes / 1024:.1f} KiB"


def times_text(size_bytes: int, reference_bytes: int) -> str:
    """
    >>> times_text(300, 850), times_text(300, 303), times_text(300, 200)
    ('2.8 times smaller than', 'as large as', '1.5 times as large as')
    """
    ratio = reference_bytes / max(size_bytes, 1)
    if ratio >= 1.05:
        return f"{ratio:.1f} times smaller than"
    return "as large as" if ratio > 0.95 else f"{1 / ratio:.1f} times as large as"
