"""The objectives of a search over configurations: numbers of the deployed file, each with its direction."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from qat.errors import ConfigError
from qat.results import RunResult, Variant
from qat.stages.deployed_variant import select_deployed_variant

MAXIMIZE, MINIMIZE = "maximize", "minimize"
LATENCY_CALLS = 100


def _metric(folder: Path, variant: Variant) -> float:
    return variant.metric.value if variant.metric.higher_is_better else -variant.metric.value


def _size(folder: Path, variant: Variant) -> float:
    return float(variant.size_bytes)


def _latency(folder: Path, variant: Variant) -> float:
    """Median milliseconds of one sample on one thread of this machine."""
    latency_ms = getattr(variant, "latency_ms", None)
    return float(latency_ms) if latency_ms is not None else measure_latency_ms(folder / variant.file)


def measure_latency_ms(file: Path) -> float:
    """Median milliseconds over 100 calls with one sample of zeros on one thread, feeding included."""
    import numpy as np

    from qat.tflite import Interpreter

    interpreter = Interpreter(file, threads=1)
    sample = np.zeros((1, *interpreter.inputs[0].shape[1:]), np.float32)
    seconds = []
    for _ in range(LATENCY_CALLS):
        start = time.perf_counter()
        interpreter.predict(sample)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


OBJECTIVES: dict[str, tuple[str, Callable[[Path, Variant], float]]] = {
    "accuracy": (MAXIMIZE, _metric),  # of a model judged by another metric: that one
    "size_bytes": (MINIMIZE, _size),
    "latency_ms": (MINIMIZE, _latency),
}
"""Name in `sweep.objectives` -> direction, and the number from a run's folder and the file that `quant` asked for."""


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


def compute_objectives(names: Sequence[str], result: RunResult, folder: Path) -> float | tuple[float, ...]:
    """The numbers that Hydra's sweepers want of a job.

    Args:
        names: entries of `sweep.objectives`: accuracy (0-1, or the metric of another task), size_bytes, latency_ms.
        result: result of the finished run.
        folder: the run's directory, which paths of files are relative to.

    Returns:
        One number, or a tuple with one per name: shares as 0-1, bytes, ms.

    Raises:
        ConfigError: a name that is no objective, or none at all.
    """
    select_directions(names)
    _, variant = select_deployed_variant(result)
    values = tuple(OBJECTIVES[name][1](folder, variant) for name in names)
    return values[0] if len(values) == 1 else values
