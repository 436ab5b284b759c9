"""The table at the end of a sweep: one line per job, best first, with what the jobs do not have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qat.reporting import terminal
from qat.reporting.numbers import format_signed, format_size, format_value
from qat.reporting.table import format_table
from qat.results import Variant

TITLES = ["job", "overrides", "variant", "metric", "vs float", "size", "integer-only", "parity"]
OPTIONAL_COLUMNS = ("integer-only", "parity", "variant", "size")  # in a narrow terminal, the first one first


@dataclass(frozen=True)
class LeaderboardRow:
    """One job's deployed file, with what the job was asked for."""

    folder: str
    overrides: tuple[str, ...]
    name: str  # of the variant
    deployed: Variant
    gain: float | None  # of the metric, against float, better is positive; None where the run has no float variant


def print_leaderboard(rows: Sequence[LeaderboardRow]) -> None:
    """Best metric first; of equals the smaller file."""
    shared_overrides = set.intersection(*(set(row.overrides) for row in rows)) if len(rows) > 1 else set()
    ranked = sorted(rows, key=_rank)
    cells = [_cells(row, shared_overrides) for row in ranked]
    titles = TITLES
    if not any(row[1] for row in cells):  # the folders' names say it all
        titles, cells = [TITLES[0], *TITLES[2:]], [[row[0], *row[2:]] for row in cells]
    print("\n" + format_table(titles, cells, OPTIONAL_COLUMNS, terminal.width()), flush=True)


def _rank(row: LeaderboardRow) -> tuple[float, int]:
    metric = row.deployed.metric
    return (-metric.value if metric.higher_is_better else metric.value, row.deployed.size_bytes)


def _cells(row: LeaderboardRow, shared: set[str]) -> list[str]:
    variant = row.deployed
    return [
        row.folder,
        " ".join(override for override in row.overrides if override not in shared),
        row.name,
        f"{variant.metric.name} {format_value(variant.metric)}",
        "" if row.gain is None else format_signed(row.gain, variant.metric.name),
        format_size(variant.size_bytes),
        "yes" if variant.integer_only else "no",
        "" if variant.parity is None else ("passed" if variant.parity.passed else "BROKEN"),
    ]
