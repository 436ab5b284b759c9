"""TensorBoard: one sub-folder per run, with the same tags in each, so that float and quantized share their charts."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import numpy as np

from qat.commands import python
from qat.reporting.loggers import Logger
from qat.reporting.numbers import drop_name
from qat.reporting.terminal import relative_to_cwd
from qat.tasks import METRICS
from qat.warning import warn

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    from qat.reporting.events import EventFile, SettingValue

LOSS, LEARNING_RATE = "loss", "learning_rate"


class SummaryWriter:
    """Writes event files below `folder`; with `folder=None` it takes everything and writes none.

    Scalars go to `loggers` as well, and are kept in `series`: (run, tag) -> points (step, value).

    Runs: `float`, `fake_quant`, `deployed_int8`, `ptq_int8`. Steps are epochs, those of QAT after those of the float
    training, so that one chart reads from left to right. `qat.reporting.dashboard` says what else a run leaves.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.series: dict[tuple[str, str], list[tuple[int, float]]] = {}
        self.loggers: list[Logger] = []
        self._files: dict[str, EventFile] = {}

    @property
    def is_enabled(self) -> bool:
        """Whether scalars go anywhere: what costs time to measure is skipped where they do not."""
        return self.folder is not None or bool(self.loggers)

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._files.values():
            with suppress(OSError):  # a full disk was said before
                file.close(error)
        for logger in self.loggers:
            logger.close(error)

    def begin(self, runs: Iterable[str]) -> None:
        """Make these runs now, in this order: TensorBoard sorts them, and assigns its colours, by time."""
        if self.folder is not None:
            now = time.time()
            with self._tolerant():
                for index, run in enumerate(runs):
                    self._file(run, now + index / 1000)

    def add_scalars(self, run: str, values: Mapping[str, float], step: int) -> None:
        """Append a point to the series of each tag, and give it to the loggers.

        Args:
            run: name of the TensorBoard run, as `float`.
            values: tag of each series, as `accuracy/val`, to the point's y (accuracy as 0-1).
            step: TensorBoard's step, the x of the point: the number of epochs done.
        """
        self._write(run, lambda file: file.add_scalars(values, step))
        for logger in self.loggers:
            logger.log_scalars(run, values, step)
        for tag, value in values.items():
            self.series.setdefault((run, tag), []).append((step, float(value)))

    def get_state(self) -> dict[str, Any]:
        """Every series, as JSON has it."""
        return {"series": [[run, tag, [list(point) for point in points]] for (run, tag), points in self.series.items()]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_state` gave; the loggers get what they have not seen, event files have it.

        Args:
            state: of this run, before it was killed.
        """
        for run, tag, points in state["series"]:
            known = self.series.setdefault((run, tag), [])
            for step, value in points:
                if (step, value) not in known:
                    known.append((int(step), float(value)))
                    for logger in self.loggers:
                        logger.log_scalars(run, {tag: float(value)}, int(step))

    def add_ranges(self, run: str, variables: Iterable[tf.Variable], step: int) -> None:
        """Append the minima and maxima of quantizer ranges: scalars, or histograms where each channel has its own.

        Args:
            run: name of the TensorBoard run, as `fake_quant`.
            variables: minima and maxima, float32 of shape [] or [channels], whose names give the tags.
            step: TensorBoard's step, the x of the points: the number of epochs done.
        """
        if self.folder is None:
            return
        values = {range_tag(variable.name): np.asarray(variable) for variable in variables}
        with self._tolerant():
            self._file(run).add_scalars({tag: float(v.reshape(())) for tag, v in values.items() if v.size == 1}, step)
            self._file(run).add_histograms({tag: v for tag, v in values.items() if v.size > 1}, step)

    def add_text(self, run: str, title: str, markdown: str) -> None:
        """Append a text.

        Args:
            run: name of the TensorBoard run, as `float`.
            title: the text's tag, under which TensorBoard shows it.
            markdown: the text, as Markdown.
        """
        self._write(run, lambda file: file.add_text(title, markdown))

    def add_image(self, run: str, title: str, png: bytes) -> None:
        """Append an image.

        Args:
            run: name of the TensorBoard run, as `float`.
            title: the image's tag, under which TensorBoard shows it.
            png: bytes of a PNG file.
        """
        self._write(run, lambda file: file.add_image(title, png))

    def add_layout(self, run: str, layout: Layout) -> None:
        """Append the charts of the Custom Scalars tab.

        Args:
            run: name of the TensorBoard run, as `float`.
            layout: TensorBoard's protocol buffer, as `build_layout` makes it.
        """
        self._write(run, lambda file: file.add_layout(layout))

    def add_hparams_experiment(self, run: str, settings: Mapping[str, bool], metrics: Iterable[str]) -> None:
        """Append the columns of the HParams tab.

        Args:
            run: name of the TensorBoard run, as `float`.
            settings: name of each column to whether it may differ between rows.
            metrics: tags of the scalars that are columns.
        """
        self._write(run, lambda file: file.add_hparams_experiment(settings, metrics))

    def add_hparams_session(self, run: str, settings: Mapping[str, SettingValue]) -> None:
        """Append `run` as a row of the HParams tab.

        Args:
            run: name of the TensorBoard run, whose last scalars are the row's metrics.
            settings: name of each column to the run's value.
        """
        self._write(run, lambda file: file.add_hparams_session(settings))

    def _write(self, run: str, add: Callable[[EventFile], None]) -> None:
        if self.folder is not None:
            with self._tolerant():
                add(self._file(run))

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Go on without TensorBoard, and say so, where its files cannot be written: a full disk ends no training."""
        try:
            yield
        except OSError as error:
            warn(
                f"{self.folder}: TensorBoard's files cannot be written ({error.strerror}); the run goes on without",
            )
            self.folder = None

    def _file(self, run: str, begin_time: float | None = None) -> EventFile:
        from qat.reporting.events import EventFile  # brings TensorBoard's protocol buffers

        if self.folder is not None and run not in self._files:
            self._files[run] = EventFile(self.folder / run, begin_time)
        return self._files[run]


def range_tag(variable_name: str) -> str:
    """The tag of a range's variable.

    >>> range_tag("block1_relu.Relu.range/min:0"), range_tag("quant_conv1/kernel_max:0")
    ('ranges/block1_relu.Relu/min', 'ranges/conv1/kernel_max')
    """
    layer, _, name = variable_name.partition(":")[0].rpartition("/")
    return f"ranges/{layer.removeprefix('quant_').removesuffix('.range')}/{name}"


_JUDGED_BY = "|".join([*METRICS, *map(drop_name, METRICS)])
FIRST_TAGS = rf"^(({_JUDGED_BY})/val$|loss|learning_rate|saturation/all layers$)"
"""Tags of the charts that TensorBoard shows first."""

COLOUR_BY_NAME = r"regex:([^/]+)$"
"""Runs of one name have one colour, whatever the job."""


def tensorboard_url(port: int = 6006) -> str:
    """The page on which TensorBoard shows the metrics at once: not smoothed, runs of one name in one colour.

    Its tab Time Series ticks up to 500 runs, and is the only one that takes colours from an address.

    >>> tensorboard_url()[:50], tensorboard_url()[-11:]
    ('http://localhost:6006/?smoothing=0&runColorGroup=r', '#timeseries')
    """
    query = {"smoothing": "0", "runColorGroup": COLOUR_BY_NAME, "tagFilter": FIRST_TAGS}
    return f"http://localhost:{port}/?{urlencode(query, quote_via=quote, safe='')}#timeseries"


def tensorboard_command(folder: Path) -> str:
    """The command that shows `folder`, to be run in the working directory."""
    program = "tensorboard" if shutil.which("tensorboard") else f"{python()} -m tensorboard.main"
    return f"{program} --logdir {shlex.quote(str(relative_to_cwd(folder)))}"
