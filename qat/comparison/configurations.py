"""Runs that differ in nothing but their seed are one configuration: its means over seeds, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qat.comparison.record import RunRecord, Setting
from qat.comparison.table import Row, as_text, by_column
from qat.confidence import Mean, mean_interval
from qat.config import Config
from qat.setting import FILES, NOTHING, without_effect

Key = tuple[str, ...]  # values of the swept settings

_NO_CAUSE = without_effect(Config, NOTHING, FILES) | {"seed"}
"""Settings that make no difference of their own: runs that differ in nothing else are one configuration."""

OFF = {"null", "none"}  # values that a label need not name


@dataclass(frozen=True)
class Configuration:
    """One variant of one configuration, over its seeds. Means of the metric in its own unit (accuracy: 0-1).

    Configurations whose files are the same, bit for bit, are one: a float model that jobs share stands once.
    """

    label: str  # the settings that tell it from the others compared
    variant: str
    task: str  # data set and metric: what values can be held against one another
    rows: tuple[Row, ...]
    seeds: int
    value: Mean
    drop: Mean | None
    fake_quant: float | None
    size_bytes: float
    latency_ms: float | None
    integer_only: bool
    higher_is_better: bool
    on_size_front: bool = False
    on_latency_front: bool = False


def changes_nothing(key: str) -> bool:
    """Whether a setting changes what is written or how fast, and not what is learned."""
    return key in _NO_CAUSE


def swept_settings(runs: Sequence[RunRecord]) -> list[str]:
    """Keys whose value is not the same in all runs that have them, without those that change nothing.

    A key that some runs do not have at all came with another version of qat, and divides nothing by that alone.
    """
    everywhere: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.settings.items():
            everywhere.setdefault(name, set()).add(as_text(value))
    differing = [name for name, values in everywhere.items() if len(values) > 1]
    return [name for name in differing if not changes_nothing(name)]


def key_of(run: RunRecord, swept: Iterable[str]) -> Key:
    return tuple(as_text(run.settings.get(name)) for name in swept)


def telling_settings(runs: Sequence[RunRecord], swept: Sequence[str]) -> list[str]:
    """The fewest swept keys, names of options first, that still tell all configurations apart.

    `model=resnet8` brings its own learning rate along, which need not be said again.
    """
    ranked = sorted(swept, key=lambda name: not name.endswith(".name"))
    told: list[str] = []
    parts: dict[Path, Key] = {run.folder: () for run in runs}
    for name in ranked:
        finer = {run.folder: (*parts[run.folder], as_text(run.settings.get(name))) for run in runs}
        if len(set(finer.values())) > len(set(parts.values())):
            told, parts = [*told, name], finer
    return told


def label_of(runs: Sequence[RunRecord], telling: Iterable[str]) -> str:
    """The telling settings of runs in words, as the command line takes them; what is off says nothing.

    A setting in which these runs differ makes no difference to what they left: it may have any value.
    """
    said: list[str] = []
    silent: list[str] = []
    free: list[str] = []
    for name in telling:
        values, shown = {as_text(run.settings.get(name)) for run in runs}, name.removesuffix(".name")
        if len(values) > 1:
            free.append(shown)
        else:
            (silent if values <= OFF else said).append(f"{shown}={values.pop()}")
    words = [*(said or ([] if free else silent)), *([f"any {', '.join(free)}"] if free else [])]
    return " ".join(words) or "as configured"


def configurations(
    rows: Sequence[Row], swept: Sequence[str], telling: Sequence[str], confidence: float
) -> list[Configuration]:
    """In the order of the rows: the configuration of the first row first."""
    keys: dict[int, Key] = {}
    groups: dict[tuple[Key, str, str], list[Row]] = {}
    for row in rows:
        key = keys.setdefault(id(row.run), key_of(row.run, swept))
        groups.setdefault((key, row.variant, row.measured.metric), []).append(row)
    merged: dict[object, list[Row]] = {}
    for (key, variant, metric), found in groups.items():
        merged.setdefault((variant, metric, _files_of(found) or key), []).extend(found)
    return [_configuration(found, telling, confidence) for found in merged.values()]


def _files_of(rows: Iterable[Row]) -> frozenset[object] | None:
    """By seed, which files these are and what they were measured on; None where a run does not say it."""
    files = frozenset((row.run.seed, row.measured.sha256, data_settings(row.run)) for row in rows)
    return None if any(row.measured.sha256 is None for row in rows) else files


def data_settings(run: RunRecord) -> tuple[tuple[str, str], ...]:
    """What the run was measured on."""
    return tuple(sorted((key, str(value)) for key, value in run.settings.items() if key.startswith("data.")))


def _configuration(rows: list[Row], telling: Sequence[str], confidence: float) -> Configuration:
    first = rows[0]
    values = list(by_seed(rows, "value").values())
    drops, quant = list(by_seed(rows, "drop").values()), list(by_seed(rows, "fake_quant").values())
    latencies = list(by_seed(rows, "latency_ms").values())
    return Configuration(
        label=label_of([row.run for row in rows], telling),
        variant=first.variant,
        task=f"{first.run.settings.get('data.name', 'unnamed data')}, {first.measured.metric}",
        rows=tuple(rows),
        seeds=len(values),
        value=mean_interval(values, confidence),
        drop=mean_interval(drops, confidence) if drops else None,
        fake_quant=mean_interval(quant).mean if quant else None,
        size_bytes=mean_interval(list(by_seed(rows, "size_bytes").values())).mean,
        latency_ms=mean_interval(latencies).mean if latencies else None,
        integer_only=all(row.measured.integer_only for row in rows),
        higher_is_better=first.measured.higher_is_better,
    )


def in_order(found: Sequence[Configuration], columns: Sequence[str]) -> list[Configuration]:
    """Sorted as rows are, by means where a column has one; what has no value comes last."""
    result = list(found)
    for column in reversed(columns):
        result = by_column(result, column, _cell)
    return result


def _cell(found: Configuration, column: str) -> Setting:
    if column == "value":
        return found.value.mean
    if column == "drop":
        return None if found.drop is None else found.drop.mean
    own = ("size_bytes", "latency_ms", "fake_quant", "integer_only", "variant")
    return getattr(found, column) if column in own else found.rows[0].get(column)


def by_seed(rows: Iterable[Row], column: str) -> Mapping[object, float]:
    """One number a seed: runs that repeat a seed are averaged first, for they are no new samples."""
    found: dict[object, list[float]] = {}
    for row in rows:
        value: Setting = row.get(column)
        if isinstance(value, int | float):
            unseeded = ("run", row.name)
            found.setdefault(unseeded if row.run.seed is None else row.run.seed, []).append(float(value))
    return {seed: sum(values) / len(values) for seed, values in found.items()}
