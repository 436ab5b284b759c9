"""What the representative-dataset callable really gives: collected once, judged by its numbers. NumPy only."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

AT_MOST = 600  # samples looked at; an endless generator ends here
CORRELATED = 64


@dataclass(frozen=True)
class CalibrationSet:
    """Samples joined per input; `problem` says why there are none, or why they cannot be used."""

    arrays: list[NDArray] = field(default_factory=list)
    problem: str = ""
    exhausted: bool = False  # a second call gave nothing

    @property
    def count(self) -> int:
        return len(self.arrays[0]) if self.arrays else 0

    @property
    def finite(self) -> bool:
        return all(np.isfinite(a).all() for a in self.arrays)

    @property
    def usable(self) -> bool:
        return not self.problem and self.count > 0 and self.finite

    @property
    def distinct(self) -> int:
        return len({hashlib.sha256(np.ascontiguousarray(sample).tobytes()).digest() for sample in self.arrays[0]})


def neighbour_correlation(values: NDArray) -> float | None:
    """Correlation of a pixel with its right and lower neighbour, over the first samples; None for what is no image."""
    values = values[:CORRELATED]
    if values.ndim != 4 or min(values.shape[1:3]) < 4:
        return None
    return float(
        np.mean([_correlation(values[:, :, 1:], values[:, :, :-1]), _correlation(values[:, 1:], values[:, :-1])])
    )


def _correlation(first: NDArray, second: NDArray) -> float:
    a, b = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
    a, b = a - a.mean(), b - b.mean()
    power = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / power) if power > 0 else 1.0


def collect_samples(calibration: Any) -> CalibrationSet | None:
    """The calibration's samples; the callable runs twice at most, once to collect, once to see whether it restarts."""
    return None if calibration is None else _collect(calibration)


def _collect(calibration: Any) -> CalibrationSet:
    if isinstance(calibration, np.ndarray):
        return CalibrationSet([calibration[:AT_MOST]])
    if not callable(calibration) and not isinstance(calibration, Iterable):
        return CalibrationSet(problem=f"it is a {type(calibration).__name__}, neither callable nor iterable")
    try:
        items = calibration() if callable(calibration) else calibration
        batches = [_parts(item) for item in itertools.islice(iter(items), AT_MOST)]
    except Exception as error:  # the user's generator may raise anything
        return CalibrationSet(problem=f"it raises {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    if not batches:
        return CalibrationSet(problem="it yields no sample")
    if len({len(batch) for batch in batches}) != 1 or not batches[0]:
        return CalibrationSet(problem="its items hold different numbers of inputs")
    try:
        arrays = [
            np.concatenate([b[i] if b[i].ndim else b[i][None] for b in batches])[:AT_MOST]
            for i in range(len(batches[0]))
        ]
    except ValueError as error:
        return CalibrationSet(problem=f"its samples have different shapes: {error}")
    if any(a.dtype.kind not in "fiub" for a in arrays):
        return CalibrationSet(problem=f"its samples have dtype {arrays[0].dtype}")
    return CalibrationSet(arrays, exhausted=_is_used_up(calibration))


def _parts(item: Any) -> list[NDArray]:
    if isinstance(item, Mapping):
        return [np.asarray(item[name]) for name in item]
    if isinstance(item, (list, tuple)):
        return [np.asarray(each) for each in item]
    return [np.asarray(item)]


def _is_used_up(calibration: Any) -> bool:
    if not callable(calibration):
        return False
    try:
        return next(iter(calibration()), None) is None
    except Exception:  # the user's generator may raise anything; a second call that fails gives nothing
        return True
