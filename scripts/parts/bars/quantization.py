"""The bars of quantization on real data: calibrated start, depthwise, parity, and what each training option does.

    scripts/bars quantization                     every row that is not there yet
    scripts/bars quantization only=start,parity   these groups: start, sqnr, depthwise, parity, ablation
    scripts/bars quantization --table             the Markdown tables from the rows

Each row is written as soon as it is known. Models and data are looked for in `shared/` beside the checkout, or where
QAT_SHARED says; a group whose files are missing says so and is left out.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import import_module
from typing import Any

from scripts.parts.common import EXPERIMENTS, SHARED, append_row, markdown_table, read_rows

ROWS = EXPERIMENTS / "2026-11-22-quantization" / "rows.jsonl"
GROUPS = ("start", "sqnr", "depthwise", "parity", "ablation")


def known() -> list[dict[str, Any]]:
    """The rows on disk, the last of each name."""
    return list({(row["group"], row["name"]): row for row in read_rows(ROWS)}.values())


def tables(rows: list[dict[str, Any]]) -> str:
    """One table per group; a number that a row has not is left empty."""
    parts = []
    for group in dict.fromkeys(row["group"] for row in rows):
        chosen = [row for row in rows if row["group"] == group]
        heads = list(dict.fromkeys(key for row in chosen for key in row if key != "group"))
        table = markdown_table(heads, ([_text(row.get(head, "")) for head in heads] for row in chosen))
        parts.append(f"### {group}\n\n{table}\n")
    return "\n".join(parts)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def measure(groups: list[str]) -> None:
    import_module("qat")  # selects Keras 2 before TensorFlow is loaded
    measures = import_module("scripts.parts.bars.quantization_measures").GROUPS
    done = {(row["group"], row["name"]) for row in known()}
    for group in groups:
        for name, measurement in measures[group](SHARED):
            if (group, name) in done:
                continue
            started = time.monotonic()
            row = {"group": group, "name": name, **measurement()}
            row |= {"seconds": round(time.monotonic() - started)}
            append_row(ROWS, row)
            print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        "scripts/bars quantization", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("only", nargs="?", metavar="only=A,B", default=f"only={','.join(GROUPS)}")
    parser.add_argument("--table", action="store_true", help="the Markdown tables from the rows that are there")
    chosen = parser.parse_args()
    key, _, value = chosen.only.partition("=")
    groups = value.split(",")
    if key != "only" or set(groups) - set(GROUPS):
        parser.error(f"{chosen.only!r}: expected only= and some of {', '.join(GROUPS)} with commas between")
    if chosen.table:
        print(tables(known()))
    else:
        measure(groups)


if __name__ == "__main__":
    main()
