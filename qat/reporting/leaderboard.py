"""The table at the end of a sweep: one line a job, best first, with what the jobs do not have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qat.reporting import terminal
from qat.reporting.numbers import signed_text, size_text, value_text
from qat.reporting.table import table_text
from qat.results import Variant

TITLES = ["job", "overrides", "variant", "metric", "vs float", "size", "integer-only", "parity"]
GIVEN_UP = ("integer-only", "parity", "variant", "size")  # in a narrow terminal, the first one first


@dataclass(frozen=True)
class Entry:
    folder: str
    overrides: tuple[str, ...]
    name: str  # of the variant
    deployed: Variant
    gain: float | None  # of the metric, against float, better is positive; None where the run has no float variant


def print_leaderboard(entries: Sequence[Entry]) -> None:
    """Best metric first; of equals the smaller file."""
    shared = set.intersection(*(set(entry.overrides) for entry in entries)) if len(entries) > 1 else set()
    ranked = sorted(entries, key=_rank)
    cells = [_cells(entry, shared) for entry in ranked]
    titles = TITLES
    if not any(row[1] for row in cells):  # the folders' names say it all
        titles, cells = [TITLES[0], *TITLES[2:]], [[row[0], *row[2:]] for row in cells]
    print("\n" + table_text(titles, cells, GIVEN_UP, terminal.width()), flush=True)


def _rank(entry: Entry) -> tuple[float, int]:
    metric = entry.deployed.metric
    return (-metric.value if metric.higher_is_better else metric.value, entry.deployed.size_bytes)


def _cells(entry: Entry, shared: set[str]) -> list[str]:
    variant = entry.deployed
    return [
        entry.folder,
        " ".join(override for override in entry.overrides if override not in shared),
        entry.name,
        f"{variant.metric.name} {value_text(variant.metric)}",
        "" if entry.gain is None else signed_text(entry.gain, variant.metric.name),
        size_text(variant.size_bytes),
        "yes" if variant.integer_only else "no",
        "" if variant.parity is None else ("passed" if variant.parity.passed else "BROKEN"),
    ]
