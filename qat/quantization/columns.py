"""Columns of different size in one input: they share one scale, and the smaller ones have few codes.

A Normalization inside the model comes too late: the input is rounded before it. Nothing in the file can repair that, so
calibration warns of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.codes import scale_of_range
from qat.metrics import sqnr_db
from qat.models.keras_types import KerasModel
from qat.quantization.importing.cut_model import cut_code
from qat.quantization.importing.keras_version import version_of
from qat.quantization.ir.graph import Graph, Tensor
from qat.quantization.ir.interpret import run
from qat.quantization.placement import MinMax, QuantSpec
from qat.warning import warn

CODES = 256
FEW, TOO_FEW = 16, 4  # codes of a column: may cost accuracy, and does
SMALLER = 8.0  # times smaller than the widest column: else the codes are few for another reason
MORE_VALUES = 4  # times as many values as codes; pixels have fewer
COSTLY_DB = 20.0
ROWS, SHOWN = 2048, 16
GOOD = 64  # codes, enough for a column
WIDE_CODES = 1 << 16  # in 16 bits


@dataclass(frozen=True)
class Column:
    """One column of an input, its values [low, high], and on how many codes they lie."""

    index: int
    low: float
    high: float
    codes: int

    def __str__(self) -> str:
        return f"column {self.index} ([{self.low:.4g}, {self.high:.4g}]) keeps {self.codes}"


def find_coarse_columns(values: NDArray, low: float, high: float) -> list[Column]:
    """The columns with few of the 256 codes of [low, high] because others are much wider.

    Values on the grid, as pixels are, lose nothing and do not count.

    Args:
        values: values of one input, float [N, ..., C]; the columns are the last axis.
        low: lower limit of the input's range, a real number in its unit.
        high: upper limit, in the same unit.

    Returns:
        The columns in their order, each with its index, limits and number of codes.
    """
    scale = scale_of_range(low, high, CODES - 1)
    flat = values.reshape(-1, values.shape[-1])
    flat = np.asarray(flat[:: max(1, len(flat) // ROWS)], np.float64)
    min_max = np.ptp(flat, axis=0)
    columns = []
    for index in np.flatnonzero((min_max > 0) & (min_max * SMALLER < min_max.max())):
        distinct = len(np.unique(flat[:, index]))
        codes = len(np.unique(np.round(flat[:, index] / scale)))
        if codes <= FEW and (distinct >= MORE_VALUES * codes or codes == 1):
            columns.append(Column(int(index), float(flat[:, index].min()), float(flat[:, index].max()), codes))
    return columns


def round_columns(values: NDArray, columns: Sequence[Column], low: float, high: float) -> NDArray[np.float32]:
    """A copy of an input with some columns rounded to the 256 codes of [low, high].

    Args:
        values: values of one input, float [N, ..., C].
        columns: the columns to round.
        low: lower limit of the input's range, a real number in its unit.
        high: upper limit, in the same unit.

    Returns:
        float32 [N, ..., C].
    """
    values_out, indices = np.array(values, np.float32), [column.index for column in columns]
    scale = scale_of_range(low, high, CODES - 1)
    values_out[..., indices] = np.round(values_out[..., indices] / scale) * scale
    return values_out


def describe_columns(columns: Sequence[Column], values: NDArray) -> str:
    """How many codes some columns keep, fewest first, and which column is the widest.

    Args:
        columns: what `find_coarse_columns` returned, at least one.
        values: values of the input, float [N, ..., C].

    Returns:
        The beginning of a sentence, without a full stop.
    """
    flat = values.reshape(-1, values.shape[-1])
    widest = int(np.argmax(np.ptp(flat, axis=0)))
    low, high = float(flat[:, widest].min()), float(flat[:, widest].max())
    ordered = sorted(columns, key=lambda column: (column.codes, column.index))
    listed = ", ".join(map(str, ordered[:SHOWN])) + (
        f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    )
    are = "is" if len(ordered) == 1 else "are"
    return (
        f"{len(ordered)} of {flat.shape[1]} columns {are} small next to column {widest} "
        f"([{low:.4g}, {high:.4g}]), and all share one scale: of {CODES} codes, {listed}"
    )


def describe_remedies(columns: Sequence[Column], low: float, high: float, code: tuple[str, str] | None) -> str:
    """What to do about coarse columns.

    Args:
        columns: what `find_coarse_columns` returned, at least one.
        low: lower limit of the input's range, a real number in its unit.
        high: upper limit, in the same unit.
        code: two lines of Python that cut the model after its own normalization; None where it has none.

    Returns:
        The end of a sentence, without a full stop.
    """
    wide = min(column.high - column.low for column in columns) / (high - low) * WIDE_CODES >= GOOD
    bits = ", or take 16 bits (quant=ptq_int16x8; convert(..., scheme='int16x8'))" if wide else ""
    others = f"give columns of each size an input of their own, with a normalization each{bits}"
    if code is None:
        return f"{others}; or standardise each column before the model, in training too: (x - mean) / std"
    return (
        f"{others}; or standardise before the model, by cutting it after its own normalization, and feed, calibrate "
        f"and train with what `before` gives: {code[0]}; {code[1]}"
    )


def warn_of_columns(
    model: KerasModel,
    graph: Graph,
    min_max: Mapping[QuantSpec, MinMax],
    batches: Sequence[Sequence[NDArray]],
) -> None:
    """Warn of each float input with columns of so few codes that outputs suffer.

    Args:
        model: the float Keras model.
        graph: its canonical graph with the ranges placed.
        min_max: (min, max) of each range as calibrated, real numbers in the tensor's unit.
        batches: calibration data: per batch one array [n, ...] per input, in `model.inputs` order.
    """
    for input_index, entry in enumerate(graph.inputs):
        low_high = _min_max_of(graph, entry.output, min_max)
        if low_high is None or entry.output.rank < 2 or entry.output.shape[-1] in (None, 1):
            continue
        values = np.concatenate([batch[input_index] for batch in batches])
        columns = find_coarse_columns(values, *low_high)
        if not columns:
            continue
        cost = _cost(graph, batches, input_index, columns, low_high)
        if cost < COSTLY_DB or min(column.codes for column in columns) <= TOO_FEW:
            warn(
                f"input {entry.name!r}: {describe_columns(columns, values)}. {_describe_cost(cost)}. To repair it, "
                f"{describe_remedies(columns, *low_high, cut_after_normalization(model, input_index))}",
            )


def _describe_cost(cost: float) -> str:
    if math.isinf(cost) and cost > 0:
        return "Rounding them changes no output so far"
    return f"Rounding them alone leaves the model's outputs at {cost:.1f} dB SQNR"


def _min_max_of(graph: Graph, tensor: Tensor, min_max: Mapping[QuantSpec, MinMax]) -> MinMax | None:
    """The calibrated limits of an input's range; None for ids, and for an input that stays in float."""
    for node in graph.nodes_of("fake_quant"):
        if node.inputs[0] is tensor:
            return min_max.get(node.attrs["quant_spec"].root())
    return None


def _cost(
    graph: Graph, batches: Sequence[Sequence[NDArray]], input_index: int, columns: Sequence[Column], low_high: MinMax
) -> float:
    """SQNR of the worst output, in dB, when these columns alone are rounded."""
    float_outputs: list[list[Any]] = []
    rounded_outputs: list[list[Any]] = []
    for batch in batches[: max(1, ROWS // max(len(batches[0][0]), 1))]:
        changed = [
            round_columns(each, columns, *low_high) if index == input_index else each
            for index, each in enumerate(batch)
        ]
        float_outputs.append([tensor.numpy() for tensor in run(graph, [tf.constant(each) for each in batch])])
        rounded_outputs.append([tensor.numpy() for tensor in run(graph, [tf.constant(each) for each in changed])])
    pairs = zip(_concatenate(float_outputs), _concatenate(rounded_outputs), strict=True)
    real = [(a, b) for a, b in pairs if a.dtype.kind == "f" and np.isfinite(a).all() and np.isfinite(b).all()]
    return min((sqnr_db(a, b) for a, b in real), default=math.inf)


def _concatenate(batches: list[list[Any]]) -> list[NDArray]:
    """One array per output."""
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def find_normalization(model: KerasModel, input_index: int) -> Any:
    """The Normalization layer with which a model begins.

    Args:
        model: a Keras model.
        input_index: number of the input in `model.inputs`, from 0.

    Returns:
        The layer that alone reads the input, if it is a Normalization; else None.
    """
    version = version_of(model)
    if not version.is_graph(model):
        return None
    readers = version.readers_of(model, model.inputs[input_index])
    return readers[0] if len(readers) == 1 and isinstance(readers[0], version.layers.Normalization) else None


def cut_after_normalization(model: KerasModel, input_index: int) -> tuple[str, str] | None:
    """Python code that cuts a model after the Normalization with which it begins.

    Args:
        model: a Keras model.
        input_index: number of the input in `model.inputs`, from 0.

    Returns:
        Two lines of Python, for the part before and the part after; None where the model does not begin with one.
    """
    layer = find_normalization(model, input_index)
    return None if layer is None else cut_code(model, [layer.name])
