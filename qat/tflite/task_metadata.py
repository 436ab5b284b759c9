"""The metadata that TensorFlow Lite's own tools read: the entry TFLITE_METADATA, and labels in a zip after the model.

Android's MetadataExtractor and the Task library take normalization and labels from there. It can say less than our
contract (no resize method, no BGR). It is read from files that were written elsewhere and carry nothing else.
Schema: tensorflow/tflite-support, metadata_schema.fbs, version 1.1.0.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table

from qat.contract import Contract
from qat.errors import ConfigError, TfliteFileError
from qat.limits import DAMAGE
from qat.tflite.graph import Tensor, TfliteGraph

METADATA_NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABEL_FILE = "labels.txt"
LARGEST_LABEL_FILE = 4 << 20
_PARSER_VERSION = "1.0.0"
_FEATURE, _IMAGE, _NORMALIZATION, _AXIS_LABELS = 1, 2, 1, 2
_RGB, _GRAYSCALE, _UNKNOWN_COLOURS = 1, 2, 0


@dataclass(frozen=True)
class Normalization:
    """input = (raw - mean) / std, one number per channel or one for all; raw pixels are 0..255."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def normalization_of(contract: Contract) -> Normalization | None:
    """The normalization that a contract's scaling amounts to; None for a contract without scaling.

    >>> normalization_of(Contract((8, 8, 3), range=(-1, 1)))
    Normalization(mean=(127.5,), std=(127.5,))
    """
    if contract.range is None and contract.mean is None:
        return None
    multiplier, offset = (np.array(values) for values in contract.affine)
    return Normalization(tuple((-offset / multiplier).tolist()), tuple((1 / multiplier).tolist()))


def contract_of(normalization: Normalization, shape: Sequence[int]) -> Contract | None:
    """The contract of an image input with this normalization.

    Args:
        normalization: mean and std, in raw units (0..255), one per channel or one for all.
        shape: sizes of one input, (height, width, channels).

    Returns:
        A contract with `range` for one mean and std for all channels, else with `mean` and `std` in units of raw / 255;
        None if the numbers make no valid contract.

    >>> contract_of(Normalization((127.5,), (127.5,)), (8, 8, 3)).range
    (-1.0, 1.0)
    """
    mean, std = (np.array(values, np.float64) for values in (normalization.mean, normalization.std))
    try:
        if len(set(mean)) == len(set(std)) == 1:
            return Contract(tuple(shape), range=(float(-mean[0] / std[0]), float((255 - mean[0]) / std[0])))
        return Contract(tuple(shape), mean=tuple(mean / 255), std=tuple(std / 255))
    except (ConfigError, ZeroDivisionError, FloatingPointError):
        return None


def write_entry(graph: TfliteGraph, contract: Contract | None, labels: Sequence[str]) -> bytes:
    """Write the entry TFLITE_METADATA.

    Args:
        graph: the file, as `read` returns it.
        contract: contract of its first input; None says nothing about normalization.
        labels: class names of its first output, in the order of the scores; empty for none.

    Returns:
        Bytes of the entry, a flatbuffer with identifier M001.
    """
    builder = flatbuffers.Builder(1024)
    inputs = [_input(builder, t, contract if i == 0 else None) for i, t in enumerate(graph.inputs)]
    outputs = [_output(builder, t, bool(labels) and i == 0) for i, t in enumerate(graph.outputs)]
    subgraph = _table(builder, 7, {2: _vector(builder, inputs), 3: _vector(builder, outputs)})
    version, name = builder.CreateString(_PARSER_VERSION), builder.CreateString(graph.main.name or "model")
    root = _table(builder, 8, {0: name, 3: _vector(builder, [subgraph]), 7: version})
    builder.Finish(root, IDENTIFIER)
    return bytes(builder.Output())


def append_labels(model: bytes, labels: Sequence[str]) -> bytes:
    """Append `labels.txt` in a zip archive, where the Task library looks for it.

    Args:
        model: bytes of the .tflite file.
        labels: class names, one per line of `labels.txt`.

    Returns:
        Bytes of the file with the archive after it; the same labels give the same bytes.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        # A fixed date, so that the same labels give the same bytes.
        file.writestr(zipfile.ZipInfo(LABEL_FILE, (1980, 1, 1, 0, 0, 0)), "\n".join(labels) + "\n")
    return model + archive.getvalue()


def read_labels(model: bytes) -> tuple[str, ...]:
    """The lines of the first text file in a zip archive after the model; none where there is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as file:
            entries = [e for e in file.infolist() if e.filename.endswith(".txt") and e.file_size <= LARGEST_LABEL_FILE]
            text = file.read(entries[0]).decode("utf-8") if entries else ""
    except DAMAGE:
        return ()
    return tuple(text.splitlines())


def read_normalization(entry: bytes) -> Normalization | None:
    """The normalization of the first input that an entry declares; None if it declares none.

    Raises:
        TfliteFileError: the entry is damaged.
    """
    try:
        root = _View.root(entry)
        subgraphs = root.tables(3)
        inputs = subgraphs[0].tables(2) if subgraphs else []
        for unit in inputs[0].tables(4) if inputs else []:
            options = unit.table(1)
            if unit.byte(0) == _NORMALIZATION and options is not None:
                mean, std = options.floats(0), options.floats(1)
                return Normalization(mean, std) if mean and std and all(np.array(std) > 0) else None
    except DAMAGE as error:
        raise TfliteFileError(f"metadata entry {METADATA_NAME} is damaged: {error}") from error
    return None


def _input(builder: flatbuffers.Builder, tensor: Tensor, contract: Contract | None) -> int:
    fields = {0: builder.CreateString(tensor.name), 3: _content(builder, contract)}
    if contract is not None:
        fields[1] = builder.CreateString(_describe_contract(contract))
        normalization = normalization_of(contract)
        if normalization is not None:
            fields[4] = _vector(builder, [_process_unit(builder, normalization)])
    return _table(builder, 7, fields)


def _describe_contract(contract: Contract) -> str:
    values = ", ".join(f"{name}={value}" for name, value in contract.to_dict().items() if value is not None)
    return f"Input contract: {values}"


def _content(builder: flatbuffers.Builder, contract: Contract | None) -> int:
    if contract is None or contract.layout != "NHWC":
        return _table(builder, 3, {1: _table(builder, 0, {})}, {0: _FEATURE})
    height, width, channels = contract.shape
    colours = {1: _GRAYSCALE, 3: _RGB}.get(channels, _UNKNOWN_COLOURS) if contract.colour_order == "rgb" else 0
    size = _table(builder, 2, {}, {}, {0: width, 1: height})
    return _table(builder, 3, {1: _table(builder, 2, {1: size}, {0: colours})}, {0: _IMAGE})


def _process_unit(builder: flatbuffers.Builder, normalization: Normalization) -> int:
    mean = builder.CreateNumpyVector(np.array(normalization.mean, np.float32))
    std = builder.CreateNumpyVector(np.array(normalization.std, np.float32))
    return _table(builder, 2, {1: _table(builder, 2, {0: mean, 1: std})}, {0: _NORMALIZATION})


def _output(builder: flatbuffers.Builder, tensor: Tensor, has_labels: bool) -> int:
    fields = {0: builder.CreateString(tensor.name), 3: _content(builder, None)}
    if has_labels:
        name = builder.CreateString(LABEL_FILE)
        fields[6] = _vector(builder, [_table(builder, 4, {0: name}, {2: _AXIS_LABELS})])
    return _table(builder, 7, fields)


def _table(
    builder: flatbuffers.Builder,
    slots: int,
    offsets: dict[int, int],
    small: dict[int, int] | None = None,
    numbers: dict[int, int] | None = None,
) -> int:
    builder.StartObject(slots)
    for slot, value in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    for slot, value in (numbers or {}).items():
        builder.PrependUint32Slot(slot, value, 0)
    for slot, value in (small or {}).items():
        builder.PrependByteSlot(slot, value, 0)
    return builder.EndObject()


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


class _View:
    """One table of a flatbuffer, read by slot number: its schema has no generated reader here."""

    def __init__(self, content: bytes, position: int) -> None:
        self._table = Table(content, position)

    @classmethod
    def root(cls, content: bytes) -> _View:
        if content[4:8] != IDENTIFIER:
            raise ValueError(f"identifier {content[4:8]!r}, expected {IDENTIFIER!r}")
        return cls(content, struct.unpack_from("<I", content)[0])

    def _position(self, slot: int) -> int:
        offset = self._table.Offset(4 + 2 * slot)
        return offset + self._table.Pos if offset else 0

    def byte(self, slot: int) -> int:
        position = self._position(slot)
        return self._table.Get(number_types.Uint8Flags, position) if position else 0

    def table(self, slot: int) -> _View | None:
        position = self._position(slot)
        return _View(self._table.Bytes, self._table.Indirect(position)) if position else None

    def tables(self, slot: int) -> list[_View]:
        position = self._position(slot)
        if not position:
            return []
        offset = position - self._table.Pos
        start, count = self._table.Vector(offset), min(self._table.VectorLen(offset), 1000)
        return [_View(self._table.Bytes, self._table.Indirect(start + 4 * i)) for i in range(count)]

    def floats(self, slot: int) -> tuple[float, ...]:
        position = self._position(slot)
        if not position:
            return ()
        return tuple(self._table.GetVectorAsNumpy(number_types.Float32Flags, position - self._table.Pos).tolist())
