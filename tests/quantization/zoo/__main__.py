"""Measure the zoo, one line per case: `python -m tests.quantization.zoo [regex ...] [--no-ptq] [--rows FILE]`.

Rows are JSON lines, written case by case; cases that are in the file already are left out, unless `--again` is said.
"""

import argparse
import dataclasses
import json
import re
import traceback
import warnings
from pathlib import Path

from . import CASES
from .departures import EXCEPTIONS
from .drawing import make, seed_of
from .measure import Row, measure

NO_PTQ = {"cbam", "lstm_with_states"}  # TensorFlow's calibrator ends the process


def faults(name: str, row: Row) -> list[str]:
    """What a case misses of the bar, in one word each."""
    found = {
        "float": not row.integer_only,
        "equal": row.float_error > 1e-4,
        "sqnr": row.sqnr_db < row.ptq_sqnr_db - 1,
        "lsb": row.within_1_lsb < 0.98,
        "codes": bool(row.departs) and name not in EXCEPTIONS,
    }
    return [word for word, missed in found.items() if missed]


def tell(name: str, row: Row) -> None:
    bad = faults(name, row)
    print(
        f"{'BAD ' if bad else 'ok  '} {name:32} int={row.integer_only:d} err={row.float_error:.1e} "
        f"sqnr={row.sqnr_db:6.2f} ptq={row.ptq_sqnr_db:6.2f} exact={row.exact:.3f} in1={row.within_1_lsb:.4f} "
        f"max={row.largest_lsb} {row.seconds:4.1f}s {' '.join(bad)}",
        flush=True,
    )
    if row.departs:
        print(f"     {EXCEPTIONS.get(name, row.departs)}", flush=True)


def kept(rows: Path | None) -> dict[str, dict]:
    """The rows of a file by case: the last of each."""
    lines = rows.read_text().splitlines() if rows and rows.exists() else []
    return {row["case"]: row for row in map(json.loads, lines)}


def keep(rows: Path, name: str, row: dict) -> None:
    """Put the row of a case into the file, in place of an older one."""
    lines = kept(rows) | {name: {"case": name} | row}
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines.values()))


def run(name: str, with_ptq: bool, trace: bool) -> dict:
    """Measure a case, print it, and return its row: numbers, or the error that ended it."""
    try:
        row = measure(make(name, CASES[name]), seed_of(name), with_ptq and name not in NO_PTQ)
    except Exception as error:
        if trace:
            traceback.print_exc()
        told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        print(f"FAIL {name:32} {told}", flush=True)
        return {"error": told}
    tell(name, row)
    numbers = dataclasses.asdict(row)
    return {key: None if value != value else value for key, value in numbers.items()}  # JSON has no NaN


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.quantization.zoo", description=__doc__)
    parser.add_argument("patterns", nargs="*", default=[""], help="regular expressions over the cases' names")
    parser.add_argument("--no-ptq", action="store_true", help="without TensorFlow's own PTQ beside it")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--again", action="store_true", help="also cases that are in the file of rows")
    parser.add_argument("--trace", action="store_true", help="print the traceback of a case that fails")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    there = {} if given.again else kept(given.rows)
    for name in CASES:
        if name in there or not any(re.search(pattern, name) for pattern in given.patterns):
            continue
        row = run(name, not given.no_ptq, given.trace)
        if given.rows:
            keep(given.rows, name, row)


if __name__ == "__main__":
    main()
