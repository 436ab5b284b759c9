"""The score table of the diagnosis: one row per case, written as it is known, beside three simpler ways to answer."""

from __future__ import annotations

import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qat.diagnosis import Diagnosis, diagnose

RIGHT = ("right", "both")
SHARED = Path(os.environ.get("QAT_SHARED", Path(__file__).resolve().parents[4] / "shared"))  # data, published models
CACHE = Path(os.environ.get("QAT_CASES", Path(tempfile.gettempdir()) / "qat-diagnose-cases"))


@dataclass
class Planted:
    """One case: what was planted (none for a clean one) and what `diagnose` is given. "Q02|Q09": either is right."""

    model: str
    expected: tuple[str, ...]
    content: bytes
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    case: str
    model: str
    planted: tuple[str, ...]
    causes: tuple[str, ...]
    blame: str
    score: str
    recovered: tuple[float, ...]  # of proved causes
    seconds: float
    checklist: str
    largest_error: str

    def text(self) -> str:
        share = f"{min(self.recovered):.0%}" if self.recovered else ""
        return (
            f"{self.case:16}{self.model:10}{'+'.join(self.planted) or 'none':9}{' '.join(self.causes) or '-':28}"
            f"{self.blame:16}{self.score:8}{share:6}{self.seconds:5.1f}"
        )


def cached(name: str, make: Callable[[], bytes]) -> bytes:
    path = CACHE / f"{name}.tflite"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make())
    return path.read_bytes()


def score(planted: Planted, found: Diagnosis) -> str:
    """ "right", "both", "one", "listed" (named, but not first), "wrong", "missed" or "ALARM"."""
    ids = [cause.id for cause in found.causes]
    if not planted.expected:
        return "right" if found.blame == "none" else "ALARM"
    hits = [any(id in ids for id in one.split("|")) for one in planted.expected]
    if len(planted.expected) > 1:
        return "both" if all(hits) else "one" if any(hits) else "wrong"
    if ids and ids[0] in planted.expected[0].split("|"):
        return "right"
    return "listed" if any(hits) else "wrong" if ids else "missed"


def read_rows(file: Path) -> list[Row]:
    """The rows that `run` wrote."""
    stored = map(json.loads, file.read_text().splitlines())
    return [Row(**{name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}) for row in stored]


def run(cases: dict[str, Callable[[], Planted]], file: Path | None = None, simpler: bool = False) -> list[Row]:
    """Diagnose each; print a row as soon as it is known, and append it to `file` as JSON.

    Args:
        file: cases that stand there are not run again.
        simpler: ask the baselines as well.

    Returns:
        A row per case whose data are here; those of the file first.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read_rows(file) if row.case in cases] if file is not None and file.is_file() else []
    print(f"{'case':16}{'model':10}{'planted':9}{'verdict':28}{'blame':16}{'score':8}{'rec.':6}{'s':>5}")
    for name in [name for name in cases if name not in {row.case for row in rows}]:
        try:
            planted = cases[name]()
        except OSError as error:
            print(f"{name:16}is not run: {error}", flush=True)
            continue
        start = time.perf_counter()
        try:
            found = diagnose(planted.content, **planted.given)
        except Exception as error:  # a set takes an hour: one broken case is a row, and not the end
            found = Diagnosis(f"broke: {type(error).__name__}", notes=(traceback.format_exc(),))
        rows.append(_row(name, planted, found, time.perf_counter() - start, simpler))
        print(rows[-1].text(), flush=True)
        if file is not None:
            with file.open("a") as stream:
                stream.write(json.dumps(asdict(rows[-1])) + "\n")
        if rows[-1].score not in RIGHT or os.environ.get("QAT_CASES_TALK"):
            _tell(found)
    return rows


def _row(name: str, planted: Planted, found: Diagnosis, seconds: float, simpler: bool) -> Row:
    from . import baselines

    return Row(
        case=name,
        model=planted.model,
        planted=planted.expected,
        causes=tuple(f"{c.id}:{c.certainty[:4]}" for c in found.causes),
        blame=found.blame,
        score=score(planted, found),
        recovered=tuple(round(c.recovered, 3) for c in found.causes if c.certainty == "proved" and c.recovered),
        seconds=round(seconds, 1),
        checklist=baselines.checklist(planted.content, planted.given) if simpler else "",
        largest_error=baselines.largest_error(planted.content, planted.given) if simpler else "",
    )


def _tell(found: Diagnosis) -> None:
    for cause in found.causes:
        print("      ", cause.id, cause.certainty, cause.recovered, cause.evidence[:300])
    for stage in found.ladder:
        print("      ", stage.rung, stage.unit, stage.value)
    for text in found.notes:
        print("       note:", text[-240:])


def summary(title: str, rows: Iterable[Row]) -> None:
    rows = list(rows)
    single = [r for r in rows if len(r.planted) == 1]
    double = [r for r in rows if len(r.planted) == 2]
    clean = [r for r in rows if not r.planted]
    print(f"\n{title}")
    print(f"  right cause first       {sum(r.score == 'right' for r in single)}/{len(single)}")
    print(f"  both causes on doubles  {sum(r.score == 'both' for r in double)}/{len(double)}")
    print(f"  false alarms on clean   {sum(r.score == 'ALARM' for r in clean)}/{len(clean)}")
    shares = [share for r in rows for share in r.recovered]
    if shares:
        print(f"  recovered where proved  {np.mean(shares):.0%} on average, {min(shares):.0%} at least ({len(shares)})")
    if rows:
        print(f"  seconds                 {np.median([r.seconds for r in rows]):.1f} median, "
              f"{max(r.seconds for r in rows):.1f} most")  # fmt: skip
        print("  baselines: right on single faults, false alarms on clean cases")
        lucky = sum(r.planted[0][0] == "Q" for r in single)
        print(f"    {'always quantization (any Q is right)':40}{lucky}/{len(single)}, {len(clean)}/{len(clean)}")
        for words, name in (("largest error of a layer", "largest_error"), ("checklist in fixed order", "checklist")):
            right = sum(getattr(r, name) in r.planted[0].split("|") for r in single)
            print(f"    {words:40}{right}/{len(single)}, {sum(bool(getattr(r, name)) for r in clean)}/{len(clean)}")
