"""TensorBoard's event files, written without TensorFlow: records of protocol buffers, each with its checksums.

The layout of a record is that of TFRecord (length, its checksum, content, its checksum); of a summary, what the plugins
that ship with TensorBoard read: a tensor, and the plugin's name in its metadata.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_metadata
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from qat import manifest
from qat.comparison.record import SettingValue

BINS = 30


class EventFile:
    """One event file in `folder`, a run of TensorBoard's. Every call appends, and is on disk when it returns.

    Args:
        folder: the run's folder; made where it is missing.
        begin_time: of the run, in seconds since 1970; None for now.
    """

    _count = 0

    def __init__(self, folder: Path, begin_time: float | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        EventFile._count += 1
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{EventFile._count}"
        manifest.note(folder / name)
        self._records = RecordWriter((folder / name).open("ab"))
        self._write(event_pb2.Event(wall_time=begin_time or time.time(), file_version="brain.Event:2"))

    def close(self, error: BaseException | None = None) -> None:
        self._records.close()

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Append a point to each series.

        Args:
            values: tag of each series to the point's y, kept as float32.
            step: TensorBoard's step, the x of the points: the number of epochs done.
        """
        metadata = scalar_metadata.create_summary_metadata("", "")
        self._add({tag: _floats(value) for tag, value in values.items()}, metadata, step)

    def add_histograms(self, values: Mapping[str, ArrayLike], step: int) -> None:
        """Append a histogram of 30 bins to each series.

        Args:
            values: tag of each series to an array of real numbers of any shape.
            step: TensorBoard's step, the x of the histogram: the number of epochs done.
        """
        metadata = histogram_metadata.create_summary_metadata("", "")
        self._add({tag: _floats(_bins(array)) for tag, array in values.items()}, metadata, step)

    def add_image(self, tag: str, png: bytes, description: str = "", step: int = 0) -> None:
        """Append an image.

        Args:
            tag: title of the image.
            png: bytes of a PNG file.
            description: Markdown that is shown below the title; "" for none.
            step: TensorBoard's step: the number of epochs done.
        """
        width, height = struct.unpack(">II", png[16:24])  # of the IHDR chunk, which comes first
        metadata = image_metadata.create_summary_metadata("", description)
        self._add({tag: _strings([str(width).encode(), str(height).encode(), png])}, metadata, step)

    def add_text(self, tag: str, markdown: str, step: int = 0) -> None:
        """Append a text.

        Args:
            tag: title of the text.
            markdown: the text, as Markdown.
            step: TensorBoard's step: the number of epochs done.
        """
        metadata = text_metadata.create_summary_metadata("", "")
        self._add({tag: _strings(markdown.encode(), scalar=True)}, metadata, step)

    def add_layout(self, layout: layout_pb2.Layout) -> None:
        """The charts of the Custom Scalars tab."""
        content = _strings(layout.SerializeToString(), scalar=True)
        metadata = custom_metadata.create_summary_metadata()
        self._add({custom_metadata.CONFIG_SUMMARY_TAG: content}, metadata, 0)

    def add_hparams_experiment(self, settings: Mapping[str, bool], metrics: Iterable[str]) -> None:
        """Append the columns of the HParams tab, in their order; TensorBoard takes those of one run.

        Args:
            settings: name of each column to whether it may differ between rows; those that may come first.
            metrics: tags of the scalars that are columns.
        """
        content = api_pb2.Experiment(
            hparam_infos=[api_pb2.HParamInfo(name=name, differs=differs) for name, differs in settings.items()],
            metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics],
        )
        data = plugin_data_pb2.HParamsPluginData(experiment=content)
        metadata = hparams_metadata.create_summary_metadata(data)
        self._add({hparams_metadata.EXPERIMENT_TAG: hparams_metadata.NULL_TENSOR}, metadata, 0)

    def add_hparams_session(self, settings: Mapping[str, SettingValue]) -> None:
        """This run as a row of the HParams tab, with these settings; its metrics are the run's last scalars."""
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        for name, value in settings.items():
            _set(start.hparams[name], value)
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
        for tag, data in (
            (hparams_metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=start)),
            (hparams_metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=end)),
        ):
            self._add({tag: hparams_metadata.NULL_TENSOR}, hparams_metadata.create_summary_metadata(data), 0)

    def _add(
        self, tensors: Mapping[str, tensor_pb2.TensorProto], metadata: summary_pb2.SummaryMetadata, step: int
    ) -> None:
        values = [summary_pb2.Summary.Value(tag=tag, tensor=each, metadata=metadata) for tag, each in tensors.items()]
        self._write(event_pb2.Event(wall_time=time.time(), step=step, summary=summary_pb2.Summary(value=values)))

    def _write(self, event: event_pb2.Event) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()


def _floats(values: ArrayLike) -> tensor_pb2.TensorProto:
    array = np.asarray(values)
    array = array.astype(np.float32 if array.ndim == 0 else np.float64)
    kind = types_pb2.DT_FLOAT if array.ndim == 0 else types_pb2.DT_DOUBLE
    return tensor_pb2.TensorProto(dtype=kind, tensor_shape=_shape(array.shape), tensor_content=array.tobytes())


def _strings(values: bytes | list[bytes], *, scalar: bool = False) -> tensor_pb2.TensorProto:
    listed = [values] if isinstance(values, bytes) else values
    shape = () if scalar else (len(listed),)
    return tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, tensor_shape=_shape(shape), string_val=listed)


def _shape(sizes: Sequence[int]) -> tensor_shape_pb2.TensorShapeProto:
    return tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=size) for size in sizes])


def _bins(values: ArrayLike) -> np.ndarray:
    """Rows of (left, right, count), as the histogram plugin reads them; one bin where nothing varies."""
    array = np.asarray(values, np.float64).reshape(-1)
    if array.size == 0 or array.min() == array.max():
        end = float(array[0]) if array.size else 0.0
        return np.array([[end - 0.5, end + 0.5, array.size]])
    counts, edges = np.histogram(array, bins=BINS)
    return np.stack([edges[:-1], edges[1:], counts.astype(np.float64)], axis=1)


def _set(slot: Any, value: SettingValue) -> None:
    if isinstance(value, bool):
        slot.bool_value = value
    elif isinstance(value, int | float):
        slot.number_value = float(value)
    else:
        slot.string_value = "null" if value is None else str(value)
