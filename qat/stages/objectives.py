"""The objectives of a search over configurations: numbers of the deployed file, each with its direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qat.errors import ConfigError
from qat.results import RunResult, Variant
from qat.stages.deployed_variant import select_deployed_variant

MAXIMIZE, MINIMIZE = "maximize", "minimize"


def _metric(variant: Variant) -> float:
    return variant.metric.value if variant.metric.higher_is_better else -variant.metric.value


def _latency(variant: Variant) -> float:
    """Median milliseconds as the run measured them."""
    if variant.latency_ms is None:
        raise ConfigError(
            f"sweep.objectives=latency_ms: this run has not measured the latency of {variant.file}; train it again, or "
            "leave latency_ms out"
        )
    return variant.latency_ms


OBJECTIVES: dict[str, tuple[str, Callable[[Variant], float]]] = {
    "accuracy": (MAXIMIZE, _metric),  # of a model judged by another metric: that one
    "size_bytes": (MINIMIZE, lambda variant: float(variant.size_bytes)),
    "latency_ms": (MINIMIZE, _latency),
}
"""Name in `sweep.objectives` -> direction, and its number of the file that `quant` asked for."""


def select_directions(names: Sequence[str]) -> list[str]:
    """The direction of each objective, as Optuna names them.

    >>> select_directions(["accuracy", "size_bytes"])
    ['maximize', 'minimize']

    Raises:
        ConfigError: a name that is no objective, or none at all.
    """
    unknown = [name for name in names if name not in OBJECTIVES]
    if unknown or not names:
        raise ConfigError(f"sweep.objectives={list(names)}: expected one or several of {', '.join(OBJECTIVES)}.")
    return [OBJECTIVES[name][0] for name in names]


def compute_objectives(names: Sequence[str], result: RunResult) -> float | tuple[float, ...]:
    """The numbers that Hydra's sweepers want of a job.

    Args:
        names: entries of `sweep.objectives`: accuracy (0-1, or the metric of another task), size_bytes, latency_ms.
        result: result of the finished run.

    Returns:
        One number, or a tuple with one per name: shares as 0-1, bytes, ms.

    Raises:
        ConfigError: a name that is no objective, or none at all.
    """
    select_directions(names)
    _, variant = select_deployed_variant(result)
    values = tuple(OBJECTIVES[name][1](variant) for name in names)
    return values[0] if len(values) == 1 else values
