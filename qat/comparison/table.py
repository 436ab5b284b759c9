"""One row per deployed file, with named columns: filtered by conditions, sorted by columns."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from qat.comparison.record import Measured, RunRecord, SettingValue
from qat.errors import ConfigError
from qat.tasks import METRICS

MEASURES = (
    "metric",
    "value",
    "low",
    "high",
    "drop",
    "fake_quant",
    "size_bytes",
    "latency_ms",
    "integer_only",
    "agreement",
    "parity",
)
"""Columns that were measured; `value`, `drop`, `fake_quant`, `agreement` as shares (0-1), `drop` against float."""

Item = TypeVar("Item")
_ALIASES = {**dict.fromkeys(METRICS, "value"), "size": "size_bytes", "latency": "latency_ms"}
_CONDITION = re.compile(r"^\s*([\w.]+)\s*(!=|<=|>=|==|=|<|>|~)\s*(.*?)\s*$")
_OTHER_JOIN = re.compile(r"(?i)\s(?:or|\|\||&&)\s+[\w.]+\s*[=<>!~]")  # and a second condition
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One variant of one run; `name` is the run's folder, as short as keeps it unique among those compared."""

    name: str
    run: RunRecord
    measured: Measured

    @property
    def variant(self) -> str:
        return self.measured.variant

    def get(self, column: str) -> SettingValue:
        """The value of a column: run, variant, seed, one of MEASURES, or a dotted key of the config."""
        column = _resolve_alias(column)
        own_columns = {"run": self.name, "variant": self.variant, "seed": self.run.seed}
        if column in own_columns:
            return own_columns[column]
        if column == "drop":
            return self.run.drop(self.variant)
        return getattr(self.measured, column) if column in MEASURES else self.run.settings.get(column)


def build_rows(runs: Sequence[RunRecord]) -> list[Row]:
    """One row per deployed file of the runs."""
    names = relative_names([run.folder for run in runs])
    return [Row(name, run, each) for name, run in zip(names, runs, strict=True) for each in run.measured.values()]


def relative_names(folders: Sequence[Path]) -> list[str]:
    """Paths below the deepest folder that holds them all; a single one by its own name.

    >>> relative_names([Path("/a/b/0"), Path("/a/b/1")]), relative_names([Path("/a/b")])
    (['0', '1'], ['b'])
    """
    absolute = [str(folder.absolute()) for folder in folders]
    if len(set(absolute)) < 2:
        return [folder.absolute().name for folder in folders]
    common = os.path.commonpath(absolute)
    return [os.path.relpath(path, common) if path != common else Path(path).name for path in absolute]


def list_columns(rows: Iterable[Row]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row.run.settings)
    return ["run", "variant", "seed", *MEASURES, *(key for key in keys if key != "seed")]


def filter_rows(rows: Sequence[Row], conditions: Sequence[str]) -> list[Row]:
    """The rows for which every condition holds: `variant=qat_int8`, `size_bytes<300000`, `run~sweep_[12]` (regex).

    Args:
        rows: deployed files, one row each: accuracy as 0-1, sizes in bytes, latency in ms.
        conditions: texts of column, sign and value; a row without a value in the column meets only `!=`.

    Returns:
        A new list in the same order.

    Raises:
        ConfigError: no such column, no such comparison, `<` with what is no number.
    """
    columns = set(list_columns(rows)) | set(_ALIASES)
    tests = [_test(condition, columns) for condition in conditions]
    return [row for row in rows if all(test(row) for test in tests)]


def _test(condition: str, columns: set[str]) -> Callable[[Row], bool]:
    matched = _CONDITION.match(condition)
    if matched is None:
        raise ConfigError(f"filter={condition}: expected COLUMN=VALUE, or one of != < <= > >= ~ (regex) between them.")
    column, symbol, expected = matched.groups()
    if _OTHER_JOIN.search(expected):
        raise ConfigError(
            f'filter={condition}: conditions are joined by "and" alone. One of several values is asked for by a '
            "regular expression, as variant~float|ptq."
        )
    _check_column("filter", column, columns)
    if symbol == "~":
        pattern = _pattern(condition, expected)
        return lambda row: row.get(column) is not None and pattern.search(format_setting(row.get(column))) is not None
    if symbol in ("=", "==", "!="):
        return lambda row: _equal(row.get(column), expected) == (symbol != "!=")
    limit, compare = _limit(condition, expected), _OPERATORS[symbol]

    def compare_row(row: Row) -> bool:
        value = row.get(column)
        return isinstance(value, int | float) and compare(value, limit)

    return compare_row


def _pattern(condition: str, expected: str) -> re.Pattern[str]:
    try:
        return re.compile(expected)
    except re.error as error:
        raise ConfigError(f"filter={condition}: {expected!r} is no regular expression ({error}).") from error


def _limit(condition: str, expected: str) -> float:
    try:
        return float(expected)
    except ValueError:
        raise ConfigError(f"filter={condition}: expected a number after the sign, got {expected!r}.") from None


def _equal(actual: SettingValue, expected: str) -> bool:
    """As text, or as numbers: 1e-3 is 0.001."""
    if format_setting(actual) == expected:
        return True
    try:
        return not isinstance(actual, bool) and isinstance(actual, int | float) and float(expected) == actual
    except ValueError:
        return False


def format_setting(value: SettingValue) -> str:
    """A setting as the command line writes it: true, false, null, numbers as they are."""
    words: Mapping[object, str] = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def sort_rows(rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
    """Sort rows by the first column, equal ones by the next.

    Args:
        rows: deployed files, one row each: accuracy as 0-1, sizes in bytes, latency in ms.
        columns: names of columns; `-` before one for the largest first.

    Returns:
        A new list; rows that have no value in a column come last.

    Raises:
        ConfigError: no such column.
    """
    known_columns, result = set(list_columns(rows)) | set(_ALIASES), list(rows)
    for column in columns:
        _check_column("sort", column.lstrip("-+"), known_columns)
    for column in reversed(columns):
        result = sort_by_column(result, column, Row.get)
    return result


def sort_by_column(items: Sequence[Item], column: str, get: Callable[[Item, str], SettingValue]) -> list[Item]:
    """Sort by one column, stably.

    Args:
        items: rows or configurations, in any order.
        column: name of a column, or a short form of it; `-` before it for the largest first.
        get: function of an item and a column's name to a text, a number or None.

    Returns:
        A new list; items that have no value come last either way.
    """
    name = _resolve_alias(column.lstrip("-+"))
    present = [item for item in items if get(item, name) is not None]
    absent = [item for item in items if get(item, name) is None]
    return sorted(present, key=lambda item: sort_key(get(item, name)), reverse=column.startswith("-")) + absent


def _resolve_alias(column: str) -> str:
    return _ALIASES.get(column, column)


def sort_key(value: SettingValue) -> tuple[int, float, str]:
    """Numbers before words; words with numbers in them by these: run 2 before run 10."""
    if isinstance(value, int | float):
        return 0, float(value), ""
    text = str(value)
    return 1, 0.0, re.sub(r"\d+", lambda digits: digits.group().zfill(12), text)


def _check_column(key: str, column: str, known: set[str]) -> None:
    if column not in known:
        measured = ", ".join(("run", "variant", "seed", *MEASURES))
        raise ConfigError(
            f"{key}={column}: no such column. Columns are {measured}, and each dotted key of the runs' configs, as "
            "quant.learning_rate."
        )
