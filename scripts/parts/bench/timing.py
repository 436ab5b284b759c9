"""Sides that take turns, and the row that comes of it. No TensorFlow here."""

from __future__ import annotations

import json
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Times:
    """Seconds of one side, a number per round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)  # user and system, of this process and its children

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    @property
    def best(self) -> float:
        return min(self.wall)

    @property
    def cpu_median(self) -> float:
        return statistics.median(self.cpu)


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(work: Callable[[], object], times: Times) -> object:
    wall, cpu = time.perf_counter(), cpu_seconds()
    result = work()
    times.wall.append(time.perf_counter() - wall)
    times.cpu.append(cpu_seconds() - cpu)
    return result


def interleaved(
    sides: Mapping[str, Callable[[], object]], rounds: int, before: Callable[[], object] = lambda: None
) -> dict[str, Times]:
    """Each side once per round, in an order that turns, so that a busy minute hits all alike; `before` is not timed."""
    times = {name: Times() for name in sides}
    names = list(sides)
    for number in range(rounds):
        for offset in range(len(names)):
            name = names[(number + offset) % len(names)]
            before()
            timed(sides[name], times[name])
    return times


def emit(what: str, ours: float | None, stock: float | None, **others: object) -> None:
    """Print a row. `upper` gives ours/stock and the highest it may be, `lower` stock/ours and the lowest; with `limit`
    the number itself is held against a bar, and without any of them nothing is."""
    upper, lower, limit = (others.pop(key, None) for key in ("upper", "lower", "limit"))
    ratio = None
    if ours is not None and stock is not None:
        ratio = stock / ours if lower is not None else ours / stock
    bar = next((value for value in (upper, lower, limit) if value is not None), None)
    measured = ours if limit is not None else ratio
    held = None if bar is None else bool(measured >= bar if lower is not None else measured <= bar)
    row = {
        "what": what,
        "ratio": ratio,
        "bar": bar,
        "sense": ">=" if lower is not None else "<=",
        "held": held,
        "ours": ours,
        "stock": stock,
        "unit": "s",
        "cpu_ratio": None,
        "best_ratio": None,
        "load": os.getloadavg()[0],
        "notes": "",
    }
    print(json.dumps(row | others), flush=True)


def emit_times(what: str, ours: Times, stock: Times, **others: object) -> None:
    """A row of two sides that took turns; the ratios of CPU time and of the fastest rounds are the same way up."""
    cpu, best = ours.cpu_median / stock.cpu_median, ours.best / stock.best
    if "lower" in others:
        cpu, best = 1 / cpu, 1 / best
    seconds = f"CPU {ours.cpu_median:.4g} s beside {stock.cpu_median:.4g} s"
    others["notes"] = "; ".join(filter(None, [str(others.get("notes", "")), seconds]))
    emit(what, ours.median, stock.median, cpu_ratio=cpu, best_ratio=best, rounds=len(ours.wall), **others)


def skip(what: str, why: str) -> None:
    print(json.dumps({"what": what, "skipped": why}), flush=True)
