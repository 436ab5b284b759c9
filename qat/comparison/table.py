"""One row a deployed file, with names for its columns: filtered by conditions, sorted by columns."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from qat.comparison.record import Measured, RunRecord, Setting
from qat.errors import ConfigError

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
_ALIASES = {"accuracy": "value", "auc": "value", "size": "size_bytes", "latency": "latency_ms"}
_CONDITION = re.compile(r"^\s*([\w.]+)\s*(!=|<=|>=|==|=|<|>|~)\s*(.*?)\s*$")
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

    def get(self, column: str) -> Setting:
        """The value of a column: run, variant, seed, one of MEASURES, or a dotted key of the config."""
        column = _named(column)
        own = {"run": self.name, "variant": self.variant, "seed": self.run.seed}
        if column in own:
            return own[column]
        if column == "drop":
            return self.run.drop(self.variant)
        return getattr(self.measured, column) if column in MEASURES else self.run.settings.get(column)


def rows_of(runs: Sequence[RunRecord]) -> list[Row]:
    names = short_names([run.folder for run in runs])
    return [Row(name, run, each) for name, run in zip(names, runs, strict=True) for each in run.measured.values()]


def short_names(folders: Sequence[Path]) -> list[str]:
    """Paths below the deepest folder that holds them all; a single one by its own name.

    >>> short_names([Path("/a/b/0"), Path("/a/b/1")]), short_names([Path("/a/b")])
    (['0', '1'], ['b'])
    """
    absolute = [str(folder.absolute()) for folder in folders]
    if len(set(absolute)) < 2:
        return [folder.absolute().name for folder in folders]
    above = os.path.commonpath(absolute)
    return [os.path.relpath(path, above) if path != above else Path(path).name for path in absolute]


def known_columns(rows: Iterable[Row]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row.run.settings)
    return ["run", "variant", "seed", *MEASURES, *(key for key in keys if key != "seed")]


def filtered(rows: Sequence[Row], conditions: Sequence[str]) -> list[Row]:
    """The rows for which every condition holds: `variant=qat_int8`, `size_bytes<300000`, `run~sweep_[12]` (regex).

    A value that a row does not have meets no condition but `!=`.

    Raises:
        ConfigError: no such column, no such comparison, `<` with what is no number.
    """
    columns = set(known_columns(rows)) | set(_ALIASES)
    tests = [_test(condition, columns) for condition in conditions]
    return [row for row in rows if all(test(row) for test in tests)]


def _test(condition: str, columns: set[str]) -> Callable[[Row], bool]:
    matched = _CONDITION.match(condition)
    if matched is None:
        raise ConfigError(f"filter={condition}: expected COLUMN=VALUE, or one of != < <= > >= ~ (regex) between them.")
    column, sign, wanted = matched.groups()
    _check_column("filter", column, columns)
    if sign == "~":
        pattern = _pattern(condition, wanted)
        return lambda row: row.get(column) is not None and pattern.search(as_text(row.get(column))) is not None
    if sign in ("=", "==", "!="):
        return lambda row: _equal(row.get(column), wanted) == (sign != "!=")
    limit, compare = _limit(condition, wanted), _OPERATORS[sign]

    def holds(row: Row) -> bool:
        found = row.get(column)
        return isinstance(found, int | float) and compare(found, limit)

    return holds


def _pattern(condition: str, wanted: str) -> re.Pattern[str]:
    try:
        return re.compile(wanted)
    except re.error as error:
        raise ConfigError(f"filter={condition}: {wanted!r} is no regular expression ({error}).") from error


def _limit(condition: str, wanted: str) -> float:
    try:
        return float(wanted)
    except ValueError:
        raise ConfigError(f"filter={condition}: expected a number after the sign, got {wanted!r}.") from None


def _equal(found: Setting, wanted: str) -> bool:
    """As text, or as numbers: 1e-3 is 0.001."""
    if as_text(found) == wanted:
        return True
    try:
        return not isinstance(found, bool) and isinstance(found, int | float) and float(wanted) == found
    except ValueError:
        return False


def as_text(value: Setting) -> str:
    """As the command line writes it: true, false, null, numbers as they are."""
    words: Mapping[object, str] = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def ordered(rows: Sequence[Row], columns: Sequence[str]) -> list[Row]:
    """Sorted by the first column, equal ones by the next; `-value` is the largest first. What has no value comes last.

    Raises:
        ConfigError: no such column.
    """
    known, result = set(known_columns(rows)) | set(_ALIASES), list(rows)
    for column in columns:
        _check_column("sort", column.lstrip("-+"), known)
    for column in reversed(columns):
        result = by_column(result, column, Row.get)
    return result


def by_column(items: Sequence[Item], column: str, get: Callable[[Item, str], Setting]) -> list[Item]:
    """Sorted by one column, stably; `-` before it: the largest first. What has no value comes last either way."""
    name = _named(column.lstrip("-+"))
    present = [item for item in items if get(item, name) is not None]
    absent = [item for item in items if get(item, name) is None]
    return sorted(present, key=lambda item: order(get(item, name)), reverse=column.startswith("-")) + absent


def _named(column: str) -> str:
    return _ALIASES.get(column, column)


def order(value: Setting) -> tuple[int, float, str]:
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
