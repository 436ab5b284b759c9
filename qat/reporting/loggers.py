"""Loggers of a run's metrics in addition to TensorBoard, with its names of runs and its steps; CSV is one of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from qat import rundir
from qat.reporting.numbers import drop_name
from qat.tasks import METRICS

TEST = "test"
# not what is logged of each layer
_LOGGED = (*METRICS, *map(drop_name, METRICS), "loss", "learning_rate", TEST)
_KEY_COLUMNS = ("epoch", "variant")


class Logger(Protocol):
    """Takes scalars of the runs `float`, `fake_quant`, `deployed_int8`, … as a SummaryWriter does; fails no run."""

    def log_scalars(self, run: str, values: Mapping[str, float], step: int) -> None:
        """Take one point of each series.

        Args:
            run: name of the TensorBoard run, as `float`.
            values: tag of each series, as `accuracy/val`, to the point's y (accuracy as 0-1).
            step: number of epochs done, the x of the points.
        """

    def log_files(self, folder: Path, paths: Sequence[Path]) -> None:
        """Take the files that the finished run left.

        Args:
            folder: the run's directory.
            paths: paths of files below `folder`.
        """

    def describe(self) -> list[str]:
        """Where to find what was logged: sentences, and paths and commands that begin with a space."""

    def close(self, error: BaseException | None = None) -> None:
        """The run is over, ended by `error` if there is one."""


def column_name(tag: str) -> str | None:
    """The name that a table has for a tag; None for what only TensorBoard shows.

    >>> [column_name(tag) for tag in ("accuracy/val", "learning_rate", "test/size_kib", "saturation/conv1")]
    ['val_accuracy', 'learning_rate', 'test_size_kib', None]
    """
    name, _, split = tag.partition("/")
    if name not in _LOGGED:
        return None
    return f"{name}_{split}" if name == TEST else f"{split}_{name}".lstrip("_")


class CsvLogger:
    """`metrics.csv`: a row per epoch and variant, the file whole after each; metrics on test are in the last row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, int], dict[str, float]] = {}

    def log_scalars(self, run: str, values: Mapping[str, float], step: int) -> None:
        """Write the point's values into the row of this run and epoch; metrics on test into the run's last row.

        Args:
            run: name of the TensorBoard run, the column `variant`.
            values: tag of each series to its value; tags that the table does not show are passed over.
            step: number of epochs done, the column `epoch`.
        """
        metrics = {name: float(value) for tag, value in values.items() if (name := column_name(tag)) is not None}
        if not metrics:
            return
        if all(name.startswith(TEST) for name in metrics):
            step = max((epoch for variant, epoch in self._rows if variant == run), default=step)
        self._rows.setdefault((run, step), {}).update(metrics)
        rundir.write_text(self._path, self._text())

    def log_files(self, folder: Path, paths: Sequence[Path]) -> None:
        """Nothing: the files lie in the same folder.

        Args:
            folder: the run's directory.
            paths: paths of files below `folder`.
        """

    def describe(self) -> list[str]:
        """Where the table lies."""
        from qat.reporting.terminal import relative_to_cwd

        return ["Curves, as a table:", f"  {relative_to_cwd(self._path)}"]

    def close(self, error: BaseException | None = None) -> None:
        """Nothing: the table is whole after each row."""

    def _text(self) -> str:
        columns = dict.fromkeys(name for values in self._rows.values() for name in values)
        buffer = io.StringIO()
        table = csv.DictWriter(buffer, [*_KEY_COLUMNS, *sorted(columns, key=_last_test)], lineterminator="\n")
        table.writeheader()
        for (run, epoch), values in self._rows.items():
            cells = {name: f"{value:.6g}" for name, value in values.items()}
            table.writerow({"epoch": epoch, "variant": run, **cells})
        return buffer.getvalue()


def _last_test(name: str) -> bool:
    return name.startswith(TEST)
