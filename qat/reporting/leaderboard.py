"""The table at the end of a sweep: one line a job, best first, with what the jobs do not have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qat.reporting.table import aligned
from qat.results import Variant

TITLES = ["job", "overrides", "variant", "metric", "drop", "size", "integer-only", "parity"]


@dataclass(frozen=True)
class Entry:
    folder: str
    overrides: tuple[str, ...]
    name: str  # of the variant
    deployed: Variant
    drop: float | None  # of the metric, against float; None where the run has no float variant


def print_leaderboard(entries: Sequence[Entry]) -> None:
    """Best metric first; of equals the smaller file."""
    shared = set.intersection(*(set(entry.overrides) for entry in entries)) if len(entries) > 1 else set()
    ranked = sorted(entries, key=_rank)
    print("\n" + aligned(TITLES, [_cells(entry, shared) for entry in ranked]), flush=True)


def _rank(entry: Entry) -> tuple[float, int]:
    metric = entry.deployed.metric
    return (-metric.value if metric.higher_is_better else metric.value, entry.deployed.size_bytes)


def _cells(entry: Entry, shared: set[str]) -> list[str]:
    variant = entry.deployed
    scale, digits, unit = (100, 2, " %") if variant.metric.name == "accuracy" else (1, 4, "")
    return [
        entry.folder,
        " ".join(override for override in entry.overrides if override not in shared),
        entry.name,
        f"{variant.metric.name} {variant.metric.value * scale:.{digits}f}{unit}",
        "" if entry.drop is None else f"{entry.drop * scale:+.{digits}f}",
        f"{variant.size_bytes / 1024:.1f} KiB",
        "yes" if variant.integer_only else "no",
        "" if variant.parity is None else ("passed" if variant.parity.passed else "BROKEN"),
    ]
