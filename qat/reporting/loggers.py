"""What keeps the curves of a run beside TensorBoard, with its names of runs and its steps: here as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from qat import rundir

TEST = "test"
_CURVES = (
    "accuracy",
    "auc",
    "loss",
    "learning_rate",
    "drop_points",
    "drop_auc",
    TEST,
)  # not what is kept of each layer
_FIRST = ("epoch", "variant")


class Logger(Protocol):
    """Takes scalars of a curve (`float`, `fake_quant`, `deployed_int8`, …) as a board does; fails no run."""

    def scalars(self, run: str, values: Mapping[str, float], step: int) -> None: ...

    def files(self, folder: Path, paths: Sequence[Path]) -> None:
        """What the finished run left, all below `folder`."""

    def told(self) -> list[str]:
        """Where to find what was logged: sentences, and paths and commands that begin with a space."""

    def close(self, error: BaseException | None = None) -> None:
        """The run is over, ended by `error` if there is one."""


def column(tag: str) -> str | None:
    """The name that a table has for a tag; None for what only TensorBoard shows.

    >>> column("accuracy/val"), column("learning_rate"), column("test/size_kib"), column("saturation/conv1")
    ('val_accuracy', 'learning_rate', 'test_size_kib', None)
    """
    name, _, split = tag.partition("/")
    if name not in _CURVES:
        return None
    return f"{name}_{split}" if name == TEST else f"{split}_{name}".lstrip("_")


class CsvLogger:
    """`metrics.csv`: a row an epoch and variant, the file whole after each; what holds on test is in the last row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, int], dict[str, float]] = {}

    def scalars(self, run: str, values: Mapping[str, float], step: int) -> None:
        named = {name: float(value) for tag, value in values.items() if (name := column(tag)) is not None}
        if not named:
            return
        if all(name.startswith(TEST) for name in named):
            step = max((epoch for variant, epoch in self._rows if variant == run), default=step)
        self._rows.setdefault((run, step), {}).update(named)
        rundir.write_text(self._path, self._text())

    def files(self, folder: Path, paths: Sequence[Path]) -> None:
        """None: they lie beside it."""

    def told(self) -> list[str]:
        from qat.reporting.terminal import near

        return ["Curves, as a table:", f"  {near(self._path)}"]

    def close(self, error: BaseException | None = None) -> None:
        """Nothing: it is whole after each row."""

    def _text(self) -> str:
        measured = dict.fromkeys(name for values in self._rows.values() for name in values)
        found = io.StringIO()
        table = csv.DictWriter(found, [*_FIRST, *sorted(measured, key=_last_test)], lineterminator="\n")
        table.writeheader()
        for (run, epoch), values in self._rows.items():
            shown = {name: f"{value:.6g}" for name, value in values.items()}
            table.writerow({"epoch": epoch, "variant": run, **shown})
        return found.getvalue()


def _last_test(name: str) -> bool:
    return name.startswith(TEST)
