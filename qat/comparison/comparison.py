"""The whole comparison, computed; what draws and writes it stands in `qat.reporting`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from qat.comparison.collect import Collected
from qat.comparison.configurations import (
    Configuration,
    Key,
    configurations,
    in_order,
    key_of,
    swept_settings,
    telling_settings,
)
from qat.comparison.pairs import Test, paired_tests
from qat.comparison.pareto import front
from qat.comparison.record import Refused, RunRecord
from qat.comparison.table import Row, filtered, ordered, rows_of

MOST_REASONS = 5  # that are told why something was left out


@dataclass(frozen=True)
class Comparison:
    """Rows (one a deployed file), configurations (means over seeds), tests, and what was refused."""

    runs: tuple[RunRecord, ...]
    rows: tuple[Row, ...]  # filtered and sorted
    swept: tuple[str, ...]  # settings in which the runs differ
    telling: tuple[str, ...]  # the fewest of them that tell configurations apart
    configurations: tuple[Configuration, ...]  # the best first, one task after another
    tests: tuple[Test, ...]
    refused: tuple[Refused, ...]
    confidence: float
    filters: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def compare_runs(
    collected: Collected, *, sort: Sequence[str] = (), filters: Sequence[str] = (), confidence: float = 0.95
) -> Comparison:
    """Everything that can be said of these runs side by side.

    Raises:
        ConfigError: a filter or a column to sort by that no run knows.
    """
    everything = rows_of(collected.runs)
    rows = ordered(filtered(everything, filters), sort or ("-value",)) if everything else []
    swept = swept_settings(collected.runs)
    telling = telling_settings(collected.runs, swept)
    grouped = configurations(rows, swept, telling, confidence)
    grouped = in_order(grouped, sort) if sort else sorted(grouped, key=_rank)
    return Comparison(
        runs=collected.runs,
        rows=tuple(rows),
        swept=tuple(swept),
        telling=tuple(telling),
        configurations=tuple(_with_fronts(grouped)),
        tests=tuple(paired_tests(rows, everything, swept, telling, confidence)),
        refused=collected.refused,
        confidence=confidence,
        filters=tuple(filters),
        notes=tuple(_notes(collected.runs, swept)),
    )


def _rank(found: Configuration) -> tuple[str, float, float]:
    return found.task, -_worth(found), found.size_bytes


def _worth(found: Configuration) -> float:
    return found.value.mean if found.higher_is_better else -found.value.mean


def _with_fronts(found: Sequence[Configuration]) -> list[Configuration]:
    """Pareto fronts within each task: metric against size, metric against latency."""
    result = list(found)
    for task in dict.fromkeys(each.task for each in found):
        places = [place for place, each in enumerate(found) if each.task == task]
        for place in _front(found, places, "size_bytes"):
            result[place] = replace(result[place], on_size_front=True)
        timed = [place for place in places if found[place].latency_ms is not None]
        for place in _front(found, timed, "latency_ms"):
            result[place] = replace(result[place], on_latency_front=True)
    return result


def _front(found: Sequence[Configuration], places: Sequence[int], cost: str) -> list[int]:
    return [places[i] for i in front([(getattr(found[place], cost), _worth(found[place])) for place in places])]


def _notes(runs: Sequence[RunRecord], swept: Sequence[str]) -> Iterator[str]:
    """What a reader must know before believing a difference."""
    for what in ("tensorflow", "tf_keras", "ai-edge-litert", "qat", "commit"):
        values = dict.fromkeys(run.made_by.get(what, "not recorded") for run in runs)
        if len(values) > 1:
            yield f"the runs were made with different {what}: {_some(values)}"
    reasons = Counter(f"{name}: {reason}" for run in runs for name, reason in run.left_out.items())
    for reason, times in list(reasons.items())[:MOST_REASONS]:
        yield f"left out of {times} of {len(runs)} runs: {reason}"
    if len(reasons) > MOST_REASONS:
        yield f"variants were left out of runs for {len(reasons) - MOST_REASONS} more reasons: each is in results.json"
    machines = dict.fromkeys(
        run.made_by["machine"] for run in runs if any(each.latency_ms is not None for each in run.measured.values())
    )
    if len(machines) > 1:
        yield f"latencies were measured on different machines and are not comparable: {_some(machines)}"
    seeds: dict[Key, list[int]] = {}
    for run in runs:
        if run.seed is not None:
            seeds.setdefault(key_of(run, swept), []).append(run.seed)
    repeated = sum(len(found) > len(set(found)) for found in seeds.values())
    if repeated:
        yield f"{repeated} configurations hold several runs of one seed: they were averaged and count as one sample"


def _some(values: dict[str, None]) -> str:
    shown = list(values)[:5]
    return ", ".join(shown) + (f" and {len(values) - 5} more" if len(values) > 5 else "")
