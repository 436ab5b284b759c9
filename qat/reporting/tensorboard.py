"""TensorBoard: one sub-folder a curve, the same tags in each, so that float and quantized curves share their charts."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

ACCURACY, LOSS, LEARNING_RATE = "accuracy", "loss", "learning_rate"


class Board:
    """Event files below `folder`; a disabled board (`folder=None`) takes everything and writes nothing.

    Runs: `float`, `fake_quant`, `deployed_int8`, `ptq_int8`. Steps are epochs, those of QAT after those of the float
    training, so that one chart reads from left to right.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def __enter__(self) -> Board:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for writer in self._writers.values():
            writer.close()

    def scalars(self, run: str, values: Mapping[str, float], step: int) -> None:
        """Points of the curve `run`, tag to value."""
        if self.folder is None:
            return
        import tensorflow as tf

        with self._writer(run).as_default(step):
            for tag, value in values.items():
                tf.summary.scalar(tag, value)
        self._writer(run).flush()

    def ranges(self, run: str, variables: Iterable[tf.Variable], step: int) -> None:
        """The ends of quantizer ranges: a number where there is one, a histogram where each channel has its own."""
        if self.folder is None:
            return
        import tensorflow as tf

        with self._writer(run).as_default(step):
            for variable in variables:
                values, tag = np.asarray(variable), range_tag(variable.name)
                if values.size == 1:
                    tf.summary.scalar(tag, values.reshape(()))
                else:
                    tf.summary.histogram(tag, values)
        self._writer(run).flush()

    def text(self, run: str, title: str, markdown: str) -> None:
        if self.folder is None:
            return
        import tensorflow as tf

        with self._writer(run).as_default(0):
            tf.summary.text(title, markdown)
        self._writer(run).flush()

    def picture(self, run: str, title: str, png: bytes) -> None:
        if self.folder is None:
            return
        import tensorflow as tf

        with self._writer(run).as_default(0):
            tf.summary.image(title, tf.io.decode_png(png)[None])
        self._writer(run).flush()

    def _writer(self, run: str) -> tf.summary.SummaryWriter:
        import tensorflow as tf

        if run not in self._writers:
            self._writers[run] = tf.summary.create_file_writer(str(self.folder / run))
        return self._writers[run]


def range_tag(variable_name: str) -> str:
    """
    >>> range_tag("block1_relu.Relu.range/min:0"), range_tag("quant_conv1/kernel_max:0")
    ('ranges/block1_relu.Relu/min', 'ranges/conv1/kernel_max')
    """
    layer, _, name = variable_name.partition(":")[0].rpartition("/")
    return f"ranges/{layer.removeprefix('quant_').removesuffix('.range')}/{name}"


def open_command(folder: Path) -> str:
    """The command that shows `folder`, as it works from here."""
    program = "tensorboard" if shutil.which("tensorboard") else f"{_near(Path(sys.executable))} -m tensorboard.main"
    return f"{program} --logdir {_near(folder)}"


def _near(path: Path) -> Path:
    """Relative to the working directory where it lies below it."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
