"""Columns of unlike size in one input: one scale is given to all of them, and the smaller ones are left with few codes.

A Normalization inside the model comes too late: the input is rounded before it. Nothing in the file can mend that, so
it is said at calibration.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.metrics import sqnr_db
from qat.quantization.importing.cut_model import cut_code
from qat.quantization.ir.graph import Graph, Tensor
from qat.quantization.ir.interpret import run
from qat.quantization.placement import Range

CODES = 256
FEW, TOO_FEW = 16, 4  # codes that a column is left with: what may cost something, and what does
SMALLER = 8.0  # times, than the widest column: else the codes are few for another reason
MORE_VALUES = 4  # times as many values as codes; pixels have fewer
COSTLY_DB = 20.0
ROWS, SHOWN = 2048, 16
GOOD = 64  # codes, enough for a column
WIDE_CODES = 1 << 16  # in 16 bits


@dataclass(frozen=True)
class Column:
    """One column of an input whose values [low, high] fall onto so few codes."""

    index: int
    low: float
    high: float
    codes: int

    def __str__(self) -> str:
        return f"column {self.index} ([{self.low:.4g}, {self.high:.4g}]) keeps {self.codes}"


def few_codes(values: NDArray, low: float, high: float) -> list[Column]:
    """The columns, along the last axis of `values` [N, ..., C], that are left with few of the codes of [low, high]
    because others are much wider. Values that stand on the grid already, as pixels do, lose nothing and do not count.
    """
    step = (high - low) / (CODES - 1)
    flat = values.reshape(-1, values.shape[-1])
    flat = np.asarray(flat[:: max(1, len(flat) // ROWS)], np.float64)
    spans = np.ptp(flat, axis=0)
    found = []
    for index in np.flatnonzero((spans > 0) & (spans * SMALLER < spans.max())):
        held = len(np.unique(flat[:, index]))
        codes = len(np.unique(np.round(flat[:, index] / step)))
        if codes <= FEW and (held >= MORE_VALUES * codes or codes == 1):
            found.append(Column(int(index), float(flat[:, index].min()), float(flat[:, index].max()), codes))
    return found


def rounded(values: NDArray, columns: Sequence[Column], low: float, high: float) -> NDArray[np.float32]:
    """The same values, these columns on the codes of [low, high]."""
    made, places = np.array(values, np.float32), [column.index for column in columns]
    step = (high - low) / (CODES - 1)
    made[..., places] = np.round(made[..., places] / step) * step
    return made


def in_words(columns: Sequence[Column], values: NDArray) -> str:
    """Which of an input's columns keep how many codes, the poorest first, and beside which they are small."""
    flat = values.reshape(-1, values.shape[-1])
    widest = int(np.argmax(np.ptp(flat, axis=0)))
    low, high = float(flat[:, widest].min()), float(flat[:, widest].max())
    ordered = sorted(columns, key=lambda column: (column.codes, column.index))
    listed = ", ".join(map(str, ordered[:SHOWN])) + (
        f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    )
    are = "is" if len(ordered) == 1 else "are"
    return (
        f"{len(ordered)} of {flat.shape[1]} columns {are} small beside column {widest} "
        f"([{low:.4g}, {high:.4g}]), and all share one scale: of {CODES} codes, {listed}"
    )


def mends(columns: Sequence[Column], low: float, high: float, cut: tuple[str, str] | None) -> str:
    """What to do about it; `cut` is the code that cuts the model behind its own normalization, where it has one."""
    wide = min(column.high - column.low for column in columns) / (high - low) * WIDE_CODES >= GOOD
    bits = ", or take 16 bits (quant=ptq_int16x8; convert(..., scheme='int16x8'))" if wide else ""
    others = f"give columns of each size an input of their own, with a normalization each{bits}"
    if cut is None:
        return f"{others}; or standardise each column before the model, in training too: (x - mean) / std"
    return (
        f"{others}; or standardise before the model, by cutting it behind its own normalization, and feed, calibrate "
        f"and train with what `before` gives: {cut[0]}; {cut[1]}"
    )


def warn_of_columns(
    model: tf_keras.Model,
    graph: Graph,
    spans: Mapping[Range, tuple[float, float]],
    batches: Sequence[Sequence[NDArray]],
) -> None:
    """One warning for each float input of which columns are left with so few codes that it costs something.

    Args:
        model: the float model; `graph`: its canonical form, placed.
        spans: the calibrated ranges.
        batches: calibration batches, arrays [n, ...] in `model.inputs` order.
    """
    for place, entry in enumerate(graph.inputs):
        span = _span_of(graph, entry.output, spans)
        if span is None or entry.output.rank < 2 or entry.output.shape[-1] in (None, 1):
            continue
        values = np.concatenate([batch[place] for batch in batches])
        columns = few_codes(values, *span)
        if not columns:
            continue
        cost = _cost(graph, batches, place, columns, span)
        if cost < COSTLY_DB or min(column.codes for column in columns) <= TOO_FEW:
            warnings.warn(
                f"input {entry.name!r}: {in_words(columns, values)}. {_said(cost)}. To mend it, "
                f"{mends(columns, *span, normalization_cut(model, place))}",
                stacklevel=3,
            )


def _said(cost: float) -> str:
    if math.isinf(cost) and cost > 0:
        return "Rounding them changes no output so far"
    return f"Rounding them alone leaves the model's outputs at {cost:.1f} dB SQNR"


def _span_of(graph: Graph, tensor: Tensor, spans: Mapping[Range, tuple[float, float]]) -> tuple[float, float] | None:
    """The calibrated range that an input is rounded on; None for ids, and for what stays in float."""
    for node in graph.of("fake_quant"):
        if node.inputs[0] is tensor:
            return spans.get(node.attrs["range"].root())
    return None


def _cost(
    graph: Graph, batches: Sequence[Sequence[NDArray]], place: int, columns: Sequence[Column], span: tuple[float, float]
) -> float:
    """SQNR of the worst output, in dB, when nothing but these columns is rounded."""
    exact: list[list[Any]] = []
    coarse: list[list[Any]] = []
    for batch in batches[: max(1, ROWS // max(len(batches[0][0]), 1))]:
        changed = [rounded(each, columns, *span) if at == place else each for at, each in enumerate(batch)]
        exact.append([tensor.numpy() for tensor in run(graph, [tf.constant(each) for each in batch])])
        coarse.append([tensor.numpy() for tensor in run(graph, [tf.constant(each) for each in changed])])
    pairs = zip(_joined(exact), _joined(coarse), strict=True)
    real = [(a, b) for a, b in pairs if a.dtype.kind == "f" and np.isfinite(a).all() and np.isfinite(b).all()]
    return min((sqnr_db(a, b) for a, b in real), default=math.inf)


def _joined(batches: list[list[Any]]) -> list[NDArray]:
    """One array an output."""
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def normalization_of(model: tf_keras.Model, place: int) -> tf_keras.layers.Layer | None:
    """The Normalization that alone reads the model's input number `place`, if that is how the model begins."""
    if not getattr(model, "_is_graph_network", False):
        return None
    tensor = model.inputs[place]
    calls = [(layer, node) for layer in model.layers for node in layer.inbound_nodes]
    reading = [layer for layer, node in calls if any(each is tensor for each in node.keras_inputs)]
    return reading[0] if len(reading) == 1 and isinstance(reading[0], tf_keras.layers.Normalization) else None


def normalization_cut(model: tf_keras.Model, place: int) -> tuple[str, str] | None:
    """The code that cuts a model behind the normalization with which it begins; None where there is none."""
    layer = normalization_of(model, place)
    return None if layer is None else cut_code(model, [layer.name])
