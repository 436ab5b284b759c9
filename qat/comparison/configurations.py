"""Runs that differ in nothing but their seed are one configuration: its means over seeds, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qat.comparison.record import RunRecord, SettingValue
from qat.comparison.table import Row, format_setting, sort_by_column
from qat.confidence import Mean, mean_interval
from qat.config import Config
from qat.setting import CHANCE, FILES, NOTHING, without_effect

Key = tuple[str, ...]  # values of the swept settings

_NO_CAUSE = without_effect(Config, NOTHING, FILES, CHANCE)
"""Settings that make no difference of their own: runs that differ in nothing else are one configuration."""

AS_CONFIGURED = "as configured"  # the label of runs that nothing tells apart
OFF = {"null", "none"}  # values that a label need not name


@dataclass(frozen=True)
class Configuration:
    """One variant of one configuration, over its seeds. Means of the metric in its own unit (accuracy: 0-1).

    Configurations whose files are the same, bit for bit, are one: a float model that jobs share stands once.
    """

    label: str  # the settings in which it differs from the others compared
    variant: str
    task: str  # data set and metric: within these values can be compared
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


def find_swept_settings(runs: Sequence[RunRecord]) -> list[str]:
    """Keys whose value is not the same in all runs that have them, without those that change nothing.

    A key that some runs do not have at all came with another version of qat, and divides nothing by that alone.
    """
    values_by_name: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.settings.items():
            values_by_name.setdefault(name, set()).add(format_setting(value))
    differing = [name for name, values in values_by_name.items() if len(values) > 1]
    return [name for name in differing if not changes_nothing(name)]


def configuration_key(run: RunRecord, swept: Iterable[str]) -> Key:
    """The values of the swept settings of a run.

    Args:
        run: the record of a run, with its settings by dotted key.
        swept: dotted keys of the settings that differ between runs.

    Returns:
        One text per key, in the order of `swept`; runs with equal ones are of one configuration.
    """
    return tuple(format_setting(run.settings.get(name)) for name in swept)


def select_distinguishing_settings(runs: Sequence[RunRecord], swept: Sequence[str]) -> list[str]:
    """The fewest swept keys, names of options first, that still tell all configurations apart.

    `model=resnet8` brings its own learning rate along, which need not be named again.

    Args:
        runs: records of all runs of the comparison.
        swept: dotted keys of the settings in which they differ.

    Returns:
        Dotted keys, a part of `swept`.
    """
    ranked = sorted(swept, key=lambda name: not name.endswith(".name"))
    selected: list[str] = []
    keys: dict[Path, Key] = {run.folder: () for run in runs}
    for name in ranked:
        finer_keys = {run.folder: (*keys[run.folder], format_setting(run.settings.get(name))) for run in runs}
        if len(set(finer_keys.values())) > len(set(keys.values())):
            selected, keys = [*selected, name], finer_keys
    return selected


def format_label(runs: Sequence[RunRecord], distinguishing: Iterable[str]) -> str:
    """The distinguishing settings of runs as the command line takes them, without those that are off.

    A setting in which these runs differ makes no difference to what they left: it may have any value.

    Args:
        runs: records of the runs of one configuration.
        distinguishing: dotted keys of the settings to name.

    Returns:
        Overrides with a space between, as `model=resnet8 any quant.epochs`; "as configured" where there is none.
    """
    set_options: list[str] = []
    off_options: list[str] = []
    free_options: list[str] = []
    for name in distinguishing:
        values, option = {format_setting(run.settings.get(name)) for run in runs}, name.removesuffix(".name")
        if len(values) > 1:
            free_options.append(option)
        else:
            (off_options if values <= OFF else set_options).append(f"{option}={values.pop()}")
    words = [
        *(set_options or ([] if free_options else off_options)),
        *([f"any {', '.join(free_options)}"] if free_options else []),
    ]
    return " ".join(words) or AS_CONFIGURED


def group_configurations(
    rows: Sequence[Row], swept: Sequence[str], distinguishing: Sequence[str], confidence: float
) -> list[Configuration]:
    """Group rows that differ in nothing but their seed.

    Args:
        rows: deployed files, sorted.
        swept: dotted keys of the settings in which the runs differ.
        distinguishing: the fewest of these keys that tell configurations apart, for labels.
        confidence: confidence of the intervals over seeds, a share from 0.5 to 1.

    Returns:
        Configurations in the order of the rows: that of the first row first.
    """
    keys: dict[int, Key] = {}
    groups: dict[tuple[Key, str, str], list[Row]] = {}
    for row in rows:
        key = keys.setdefault(id(row.run), configuration_key(row.run, swept))
        groups.setdefault((key, row.variant, row.measured.metric), []).append(row)
    merged: dict[object, list[Row]] = {}
    for (key, variant, metric), group in groups.items():
        merged.setdefault((variant, metric, _files_of(group) or key), []).extend(group)
    return [_configuration(group, distinguishing, confidence) for group in merged.values()]


def _files_of(rows: Iterable[Row]) -> frozenset[object] | None:
    """By seed, the files' digests and the data that they were measured on; None where a digest is not recorded."""
    files = frozenset((row.run.seed, row.measured.sha256, data_settings(row.run)) for row in rows)
    return None if any(row.measured.sha256 is None for row in rows) else files


def data_settings(run: RunRecord) -> tuple[tuple[str, str], ...]:
    """The settings of the data that the run was measured on."""
    return tuple(sorted((key, str(value)) for key, value in run.settings.items() if key.startswith("data.")))


def _configuration(rows: list[Row], distinguishing: Sequence[str], confidence: float) -> Configuration:
    first = rows[0]
    values = list(average_by_seed(rows, "value").values())
    drops, quant = list(average_by_seed(rows, "drop").values()), list(average_by_seed(rows, "fake_quant").values())
    latencies = list(average_by_seed(rows, "latency_ms").values())
    return Configuration(
        label=format_label([row.run for row in rows], distinguishing),
        variant=first.variant,
        task=f"{first.run.settings.get('data.name', 'unnamed data')}, {first.measured.metric}",
        rows=tuple(rows),
        seeds=len(values),
        value=mean_interval(values, confidence),
        drop=mean_interval(drops, confidence) if drops else None,
        fake_quant=mean_interval(quant).mean if quant else None,
        size_bytes=mean_interval(list(average_by_seed(rows, "size_bytes").values())).mean,
        latency_ms=mean_interval(latencies).mean if latencies else None,
        integer_only=all(row.measured.integer_only for row in rows),
        higher_is_better=first.measured.higher_is_better,
    )


def sort_configurations(configurations: Sequence[Configuration], columns: Sequence[str]) -> list[Configuration]:
    """Sort configurations as rows are sorted, by means where a column has one.

    Args:
        configurations: the configurations, in any order.
        columns: names of columns, the first one sorts first; `-` before one for the largest first.

    Returns:
        A new list; what has no value in a column comes last.
    """
    result = list(configurations)
    for column in reversed(columns):
        result = sort_by_column(result, column, _cell)
    return result


def _cell(configuration: Configuration, column: str) -> SettingValue:
    if column == "value":
        return configuration.value.mean
    if column == "drop":
        return None if configuration.drop is None else configuration.drop.mean
    own_columns = ("size_bytes", "latency_ms", "fake_quant", "integer_only", "variant")
    return getattr(configuration, column) if column in own_columns else configuration.rows[0].get(column)


def average_by_seed(rows: Iterable[Row], column: str) -> Mapping[object, float]:
    """One number per seed: runs that repeat a seed are averaged, for they are no new samples.

    Args:
        rows: deployed files of one configuration.
        column: name of the column whose values are averaged; rows without a number in it are left out.

    Returns:
        Seed (for a run without one, its name) to mean, in the column's unit.
    """
    values_by_seed: dict[object, list[float]] = {}
    for row in rows:
        value: SettingValue = row.get(column)
        if isinstance(value, int | float):
            run_key = ("run", row.name)
            values_by_seed.setdefault(run_key if row.run.seed is None else row.run.seed, []).append(float(value))
    return {seed: sum(values) / len(values) for seed, values in values_by_seed.items()}
