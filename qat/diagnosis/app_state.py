"""O06: does the app carry something from one call to the next?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.diagnosis import Cause, Finding
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.running import called
from qat.diagnosis.side import Side

SAMPLES = 48


def judge_state(evidence: Evidence, side: Side) -> None:
    """The same samples in the other order must give the same results."""
    few = evidence.case.inputs[: min(SAMPLES, evidence.case.count)]
    if len(few) < 4:
        return
    pick = (lambda v: np.asarray(v[0])) if len(evidence.case.graph.outputs) > 1 else np.asarray
    first = pick(called("user_run", evidence.case.user_run, few, evidence.case.content))
    second = pick(called("user_run", evidence.case.user_run, few[::-1], evidence.case.content))
    if first.shape != second.shape or len(first) != len(few) or len({row.tobytes() for row in first}) < 3:
        return
    changed = np.abs(first.astype(np.float64) - second[::-1]).reshape(len(few), -1).max(axis=1)
    if np.mean(changed > 1e-6 + 0.02 * np.ptp(first)) > 0.3 and not _late(first, second):
        finding = Finding(
            "O06",
            "the same samples in reverse order give other results: something is carried from one call to the next",
            "make a new interpreter for each sequence, or before each: interpreter.reset_all_variables()", 0.9,
            certain=True,
        )  # fmt: skip
        side.causes.append(Cause.of(finding, *_certainty(evidence)))
        side.unsure = ""


def _certainty(evidence: Evidence) -> tuple[str, float | None]:
    """Proved where our own runs of the file, each from a fresh state, have what the app has not."""
    if evidence.a4 is None or evidence.a2 is None:
        return "certain", None
    drop = evidence.yardstick.drop(evidence.a2, evidence.a4)
    return ("proved", 1.0) if drop.significant else ("certain", None)


def _late(first: NDArray, second: NDArray) -> bool:
    """One sample late, or all the same: a stale buffer, not a state."""
    return bool(np.allclose(first[1:], first[:1]) or np.allclose(second[1:], second[:1]))
