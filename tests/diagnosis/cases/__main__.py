"""Diagnose the planted cases of a set, print a row each, and the score; exit 1 where a case has got worse.

    python -m tests.diagnosis.cases others                 every case of the set
    python -m tests.diagnosis.cases others --sample 40     one case per planted cause first, the quickest of each
    python -m tests.diagnosis.cases others table-Q01 X*    some, by name or pattern
    python -m tests.diagnosis.cases others --rows FILE     rows go to FILE as they come; called again, it goes on

Data are read from $QAT_SHARED (by default the folder `shared` beside the checkout); a case that lacks some is not run,
and the end says which networks of the sets others and held_out need none. Networks and files are kept in $QAT_CASES (a
scratch folder by default). Rows are held against those stored with the experiment.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from .networks import NETWORKS
from .scoring import RIGHT, Row, run, summary

STORED = Path(__file__).resolve().parents[3] / "experiments/2026-11-22-diagnosis"
SETS = ("development", "others", "held_out")


def stored_rows(name: str) -> dict[str, dict[str, Any]]:
    lines = (STORED / f"rows_{name}.jsonl").read_text().splitlines()
    return {row["case"]: row for row in map(json.loads, lines)}


def sample(rows: dict[str, dict[str, Any]], count: int) -> list[str]:
    """The quickest case of each planted cause, then the second of each, and so on."""
    ranked: dict[tuple[str, ...], int] = {}
    order = []
    for row in sorted(rows.values(), key=lambda row: row["seconds"]):
        planted = tuple(row["planted"])
        order.append((ranked.setdefault(planted, 0), row["case"]))
        ranked[planted] += 1
    return [case for _, case in sorted(order, key=lambda each: each[0])[:count]]


def worse_rows(rows: list[Row], before: dict[str, dict[str, Any]]) -> list[str]:
    was_right = {case for case, row in before.items() if row["score"] in RIGHT}
    return [row.case for row in rows if row.case in was_right and row.score not in RIGHT]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.diagnosis.cases")
    parser.add_argument("set", choices=SETS)
    parser.add_argument("names", nargs="*", help="names or patterns of cases; all by default")
    parser.add_argument("--sample", type=int, metavar="N", help="so many cases, spread over the causes")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="append each row; cases that stand there are done")
    parser.add_argument("--baselines", action="store_true", help="also ask three simpler ways to answer")
    given = parser.parse_args(arguments)
    cases, before = importlib.import_module(f".{given.set}", __package__).all_cases(), stored_rows(given.set)
    names = [name for name in cases if any(fnmatch.fnmatch(name, pattern) for pattern in given.names or ["*"])]
    if given.sample is not None:
        chosen = sample({name: before[name] for name in names if name in before}, given.sample)
        names = [name for name in names if name in chosen]
    rows = run({name: cases[name] for name in names}, given.rows, given.baselines)
    if given.set == "development":
        summary("M1, where thresholds were tuned", [row for row in rows if row.model == "M1"])
        rows_of_others = [row for row in rows if row.model != "M1"]
        summary("other models", rows_of_others)
    else:
        summary(given.set, rows)
    worse, left_out = worse_rows(rows, before), len(set(names) - {row.case for row in rows})
    print(f"  worse than stored       {', '.join(worse) or 'none'}")
    if left_out:
        print(f"  not run for want of data {left_out}; cases of these networks can be: {', '.join(list_usable())}")
    return 1 if worse or left_out else 0


def list_usable() -> list[str]:
    """The networks of the sets others and held_out whose data are here, or made when they are needed."""
    usable = []
    for name, network in NETWORKS.items():
        with contextlib.suppress(OSError):
            network.data()
            usable.append(name)
    return usable


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
