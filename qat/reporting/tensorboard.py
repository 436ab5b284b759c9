"""TensorBoard: one sub-folder a curve, the same tags in each, so that float and quantized curves share their charts."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import numpy as np

from qat.commands import python
from qat.reporting.loggers import Logger
from qat.reporting.terminal import near

if TYPE_CHECKING:
    from qat.reporting.events import EventFile, Setting

ACCURACY, LOSS, LEARNING_RATE = "accuracy", "loss", "learning_rate"


class Board:
    """Event files below `folder`; a disabled board (`folder=None`) takes everything and writes none.

    Scalars go to `loggers` as well, and are kept in `curves`: (run, tag) -> points, as drawn.

    Curves: `float`, `fake_quant`, `deployed_int8`, `ptq_int8`. Steps are epochs, those of QAT after those of the float
    training, so that one chart reads from left to right. `qat.reporting.dashboard` says what else a run leaves.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
        self.loggers: list[Logger] = []
        self._files: dict[str, EventFile] = {}

    @property
    def is_asked_for(self) -> bool:
        """Whether anybody looks at curves: what costs time is measured for nobody else."""
        return self.folder is not None or bool(self.loggers)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for each in (*self._files.values(), *self.loggers):
            each.close(error)

    def begin(self, runs: Iterable[str]) -> None:
        """Make these runs as of now, in this order: TensorBoard sorts them, and gives out its colours, by time."""
        if self.folder is not None:
            now = time.time()
            for place, run in enumerate(runs):
                self._file(run, now + place / 1000)

    def scalars(self, run: str, values: Mapping[str, float], step: int) -> None:
        """Points of the curve `run`, tag to value."""
        if self.folder is not None:
            self._file(run).scalars(values, step)
        for logger in self.loggers:
            logger.scalars(run, values, step)
        for tag, value in values.items():
            self.curves.setdefault((run, tag), []).append((step, float(value)))

    def ranges(self, run: str, variables: Iterable[Any], step: int) -> None:
        """The ends of quantizer ranges: a number where there is one, a histogram where each channel has its own."""
        if self.folder is None:
            return
        values = {range_tag(variable.name): np.asarray(variable) for variable in variables}
        self._file(run).scalars({tag: float(v.reshape(())) for tag, v in values.items() if v.size == 1}, step)
        self._file(run).histograms({tag: v for tag, v in values.items() if v.size > 1}, step)

    def text(self, run: str, title: str, markdown: str) -> None:
        if self.folder is not None:
            self._file(run).text(title, markdown)

    def picture(self, run: str, title: str, png: bytes) -> None:
        if self.folder is not None:
            self._file(run).image(title, png)

    def layout(self, run: str, layout: Any) -> None:
        """Charts of the Custom Scalars tab: a `Layout` of TensorBoard's plugin."""
        if self.folder is not None:
            self._file(run).layout(layout)

    def experiment(self, run: str, settings: Mapping[str, bool], metrics: Iterable[str]) -> None:
        """Columns of the HParams tab."""
        if self.folder is not None:
            self._file(run).experiment(settings, metrics)

    def session(self, run: str, settings: Mapping[str, Setting]) -> None:
        """`run` as a row of the HParams tab."""
        if self.folder is not None:
            self._file(run).session(settings)

    def _file(self, run: str, began: float | None = None) -> EventFile:
        from qat.reporting.events import (
            EventFile,
        )  # TensorBoard's protocol buffers: not for a board that writes nothing

        if self.folder is not None and run not in self._files:
            self._files[run] = EventFile(self.folder / run, began)
        return self._files[run]


def range_tag(variable_name: str) -> str:
    """
    >>> range_tag("block1_relu.Relu.range/min:0"), range_tag("quant_conv1/kernel_max:0")
    ('ranges/block1_relu.Relu/min', 'ranges/conv1/kernel_max')
    """
    layer, _, name = variable_name.partition(":")[0].rpartition("/")
    return f"ranges/{layer.removeprefix('quant_').removesuffix('.range')}/{name}"


SHOWN = r"^((accuracy|auc|drop_points|drop_auc)/val$|loss|learning_rate|saturation/all layers$)"
"""Tags of the charts that are shown first."""

ONE_COLOUR = r"regex:([^/]+)$"
"""Curves that have one colour: those of one name, whatever the job."""


def open_address(port: int = 6006) -> str:
    """Where TensorBoard shows the curves as soon as it is open: not smoothed, and of one colour in all jobs.

    Its tab Time Series ticks up to 500 runs, and is the only one that takes colours from an address.

    >>> open_address()[:50], open_address()[-11:]
    ('http://localhost:6006/?smoothing=0&runColorGroup=r', '#timeseries')
    """
    asked = {"smoothing": "0", "runColorGroup": ONE_COLOUR, "tagFilter": SHOWN}
    return f"http://localhost:{port}/?{urlencode(asked, quote_via=quote, safe='')}#timeseries"


def open_command(folder: Path) -> str:
    """The command that shows `folder`, as it works from here."""
    program = "tensorboard" if shutil.which("tensorboard") else f"{python()} -m tensorboard.main"
    return f"{program} --logdir {shlex.quote(str(near(folder)))}"
