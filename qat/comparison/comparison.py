"""The whole comparison, computed; `qat.reporting` draws and writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from qat.comparison.collect import Collected
from qat.comparison.configurations import (
    Configuration,
    Key,
    configuration_key,
    find_swept_settings,
    group_configurations,
    select_distinguishing_settings,
    sort_configurations,
)
from qat.comparison.pairs import Test, run_paired_tests
from qat.comparison.pareto import find_pareto_front
from qat.comparison.record import Refused, RunRecord
from qat.comparison.table import Row, build_rows, filter_rows, sort_rows

MOST_REASONS = 5  # that are listed for variants that were left out


@dataclass(frozen=True)
class Comparison:
    """Rows (one per deployed file), configurations (means over seeds), tests, and refused directories."""

    runs: tuple[RunRecord, ...]
    rows: tuple[Row, ...]  # filtered and sorted
    swept: tuple[str, ...]  # settings in which the runs differ
    distinguishing: tuple[str, ...]  # the fewest of them that tell configurations apart
    configurations: tuple[Configuration, ...]  # the best first, one task after another
    tests: tuple[Test, ...]
    refused: tuple[Refused, ...]
    confidence: float
    filters: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def compare_runs(
    collected: Collected, *, sort: Sequence[str] = (), filters: Sequence[str] = (), confidence: float = 0.95
) -> Comparison:
    """Compare the runs: rows, means over seeds, Pareto fronts and tests of QAT against PTQ.

    Args:
        collected: the runs that were read, and the directories that were refused with the reason.
        sort: names of columns, `-` before one for the largest first; empty: the best metric first.
        filters: conditions as `variant=qat_int8`, all of which a row must meet.
        confidence: confidence of the intervals over seeds, a share from 0.5 to 1.

    Returns:
        Rows, configurations with mean and interval in each metric's unit, Pareto fronts and paired tests with p values.

    Raises:
        ConfigError: a filter or a column to sort by that no run knows.
    """
    all_rows = build_rows(collected.runs)
    rows = sort_rows(filter_rows(all_rows, filters), sort or ("-value",)) if all_rows else []
    swept = find_swept_settings(collected.runs)
    distinguishing = select_distinguishing_settings(collected.runs, swept)
    groups = group_configurations(rows, swept, distinguishing, confidence)
    groups = sort_configurations(groups, sort) if sort else sorted(groups, key=_rank)
    return Comparison(
        runs=collected.runs,
        rows=tuple(rows),
        swept=tuple(swept),
        distinguishing=tuple(distinguishing),
        configurations=tuple(_with_fronts(groups)),
        tests=tuple(run_paired_tests(rows, all_rows, swept, distinguishing, confidence)),
        refused=collected.refused,
        confidence=confidence,
        filters=tuple(filters),
        notes=tuple(_notes(collected.runs, swept)),
    )


def _rank(configuration: Configuration) -> tuple[str, float, float]:
    return configuration.task, -_signed_mean(configuration), configuration.size_bytes


def _signed_mean(configuration: Configuration) -> float:
    return configuration.value.mean if configuration.higher_is_better else -configuration.value.mean


def _with_fronts(configurations: Sequence[Configuration]) -> list[Configuration]:
    """Pareto fronts within each task: metric against size, metric against latency."""
    result = list(configurations)
    for task in dict.fromkeys(each.task for each in configurations):
        indices = [index for index, each in enumerate(configurations) if each.task == task]
        for index in _front(configurations, indices, "size_bytes"):
            result[index] = replace(result[index], on_size_front=True)
        timed = [index for index in indices if configurations[index].latency_ms is not None]
        for index in _front(configurations, timed, "latency_ms"):
            result[index] = replace(result[index], on_latency_front=True)
    return result


def _front(configurations: Sequence[Configuration], indices: Sequence[int], cost: str) -> list[int]:
    return [
        indices[i]
        for i in find_pareto_front(
            [(getattr(configurations[index], cost), _signed_mean(configurations[index])) for index in indices]
        )
    ]


def _notes(runs: Sequence[RunRecord], swept: Sequence[str]) -> Iterator[str]:
    """Circumstances that make differences doubtful."""
    for package in ("tensorflow", "tf_keras", "ai-edge-litert", "qat", "commit"):
        values = dict.fromkeys(run.made_by.get(package, "not recorded") for run in runs)
        if len(values) > 1:
            yield f"the runs were made with different {package}: {_some(values)}"
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
            seeds.setdefault(configuration_key(run, swept), []).append(run.seed)
    repeated = sum(len(values) > len(set(values)) for values in seeds.values())
    if repeated:
        yield f"{repeated} configurations hold several runs of one seed: they were averaged and count as one sample"


def _some(values: dict[str, None]) -> str:
    listed = list(values)[:5]
    return ", ".join(listed) + (f" and {len(values) - 5} more" if len(values) > 5 else "")
