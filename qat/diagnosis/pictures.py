"""Small pictures in text: the range of the data against the range of the input."""

from __future__ import annotations

import numpy as np

from qat.diagnosis.evidence import Evidence

WIDTH = 36  # with names and numbers a line has 80 columns


def pictures_of(evidence: Evidence) -> dict[str, str]:
    """By title; none where there is nothing to draw."""
    rows = range_rows(evidence)
    found = {"range of the data against the range of the input": bars(rows)} if len(rows) > 1 else {}
    if evidence.noise_db:
        found["SQNR of each layer's output in int8, median channel, in the order of the graph"] = levels(
            evidence.noise_db
        )
    return found


def range_rows(evidence: Evidence) -> list[tuple[str, float, float]]:
    rows = []
    if (limits := evidence.facts.input_range) is not None:
        rows.append(("the file's input holds", *limits))
    for name, arrays in (("right inputs", evidence.right_inputs), ("the app's inputs", evidence.user_inputs)):
        if arrays is not None:
            rows.append((name, float(arrays[0].min()), float(arrays[0].max())))
    seen = evidence.calibration
    if seen is not None and seen.usable:
        rows.append(("calibration samples", float(seen.arrays[0].min()), float(seen.arrays[0].max())))
    return rows


def bars(rows: list[tuple[str, float, float]]) -> str:
    """One line a range, all on one axis.

    >>> print(bars([("input", 0.0, 1.0), ("data", 0.0, 0.5)]).splitlines()[1].rstrip())
    data                    ##################                   [0, 0.5]
    """
    low, high = min(r[1] for r in rows), max(r[2] for r in rows)
    unit = (high - low) / WIDTH or 1.0
    lines = []
    for name, start, end in rows:
        before = round((start - low) / unit)
        filled = max(round((end - start) / unit), 1)
        bar = (" " * min(before, WIDTH - 1) + "#" * filled)[:WIDTH]
        lines.append(f"{name:<24}{bar:<{WIDTH}} [{start:.4g}, {end:.4g}]")
    return "\n".join(lines)


def levels(rows: list[tuple[str, float]], most: int = 40) -> str:
    """One line a layer, one mark for 2 dB; of many layers the worst.

    >>> print(levels([("block/conv", 12.0), ("head", 40.0)]))
    conv                     12.0 dB ######
    head                     40.0 dB ####################
    """
    worst = sorted(sorted(range(len(rows)), key=lambda i: rows[i][1])[:most])
    return "\n".join(
        f"{_short(name):<24}{db:5.1f} dB {'#' * int(np.clip(round(db / 2), 0, 32))}"
        for name, db in (rows[i] for i in worst)
    )


def _short(name: str) -> str:
    parts = name.split("/")
    return (parts[-2] if len(parts) > 2 else parts[-1])[:23]
