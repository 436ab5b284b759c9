"""Operators of rows, [rows, channels], that keep the axes of what the rows were made of: fewer reshapes.

Keras flattens the input of a dense layer with more than two axes, and restores its axes after it. The operator takes
any number of axes (`keep_num_dims`), and so do those that compute number by number, or along the last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.planned_ops import OPERATOR, Constant, Number, PlannedOp, Value
from qat.export.lowering.simplify import Uses

MOST_AXES = 4  # that every kernel takes
_BY_ROW = {
    OPERATOR.ABS,
    OPERATOR.ADD,
    OPERATOR.DEQUANTIZE,
    OPERATOR.ELU,
    OPERATOR.EXP,
    OPERATOR.FULLY_CONNECTED,
    OPERATOR.GELU,
    OPERATOR.HARD_SWISH,
    OPERATOR.LEAKY_RELU,
    OPERATOR.LOGISTIC,
    OPERATOR.MAXIMUM,
    OPERATOR.MINIMUM,
    OPERATOR.MUL,
    OPERATOR.QUANTIZE,
    OPERATOR.RELU,
    OPERATOR.RELU6,
    OPERATOR.SOFTMAX,
    OPERATOR.SUB,
    OPERATOR.TANH,
}

Shape = tuple[int | None, ...]


@dataclass(eq=False)
class _Region:
    """Operators of the rows of one tensor.

    Attributes:
        flattened: reshapes to the rows, from values of several axes.
        ops: operators by row, in order.
        rows: the results of both, and the operators that read them.
    """

    flattened: list[PlannedOp]
    ops: list[PlannedOp]
    rows: dict[Value, list[PlannedOp]]

    @property
    def restored(self) -> list[PlannedOp]:
        """The reshapes from the rows."""
        readers = [op for readers in self.rows.values() for op in readers]
        return [op for op in dict.fromkeys(readers) if op not in self.ops and _is_reshape(op)]


def remove_reshapes(uses: Uses) -> None:
    """Let operators by row keep the axes of what the rows were made of, where fewer operators are left then.

    Args:
        uses: simplified operators; changed. What they compute stays the same.
    """
    done: set[PlannedOp] = set()
    for op in list(uses.ops):
        if op not in done and op in uses.ops and _is_flattening(op):
            region = _find_region(uses, op)
            done.update(region.flattened)
            axes = _choose_axes(uses, region)
            if axes is not None:
                _keep_axes(uses, region, *axes)
    uses.drop_unused()


def _is_reshape(op: PlannedOp | None) -> bool:
    return op is not None and op.operator == OPERATOR.RESHAPE and isinstance(op.inputs[1], Constant)


def _source(op: PlannedOp) -> Value:
    value = op.inputs[0]
    assert isinstance(value, Value), op.operator
    return value


def _is_flattening(op: PlannedOp) -> bool:
    return _is_reshape(op) and op.outputs[0].rank == 2 and 2 < _source(op).rank <= MOST_AXES


def _find_region(uses: Uses, first: PlannedOp) -> _Region:
    """All operators by row that are connected with the rows of one reshape, by others' rows of the same axes, too."""
    flattened = {op.outputs[0]: op for op in uses.ops if _is_flattening(op) and _agrees(op, first)}
    by_row: list[PlannedOp] = []
    rows = set(flattened)
    for op in uses.ops:
        is_by_row = op.operator in _BY_ROW and op.write is None and not any(map(_has_rows, op.inputs))
        if is_by_row and op.values_read and rows.issuperset(op.values_read):
            by_row.append(op)
            rows.add(op.outputs[0])
    connected, count = {first.outputs[0]: None}, 0
    while count < len(connected):
        count = len(connected)
        for op in by_row:
            around = [*op.values_read, op.outputs[0]]
            if any(value in connected for value in around):
                connected.update(dict.fromkeys(around))
    return _Region(
        [op for value, op in flattened.items() if value in connected],
        [op for op in by_row if op.outputs[0] in connected],
        {value: uses.consumers.get(value, []) for value in connected},
    )


def _agrees(op: PlannedOp, first: PlannedOp) -> bool:
    """Whether both flatten the same axes."""
    return _source(op).shape[:-1] == _source(first).shape[:-1] and _source(op).sizes[:-1] == _source(first).sizes[:-1]


def _has_rows(operand: object) -> bool:
    """Whether a constant has more axes than its channels: it would need the axes of the others."""
    return isinstance(operand, Number) and operand.values.ndim > 1


def _choose_axes(uses: Uses, region: _Region) -> tuple[Shape, tuple[int, ...]] | None:
    """(shape, sizes) of all axes before the channels, by which the fewest operators are left; None if none is saved."""
    values = [_source(op) for op in region.flattened] + [op.outputs[0] for op in region.restored]
    candidates = {(value.shape[:-1], value.sizes[:-1]): None for value in values if 2 < value.rank <= MOST_AXES}
    before = len(region.flattened) + len(region.restored)
    counts = {axes: _count_reshapes(uses, region, *axes) for axes in candidates if axes[0].count(None) <= 1}
    best = min(counts, key=lambda axes: counts[axes], default=None)
    return best if best is not None and counts[best] < before and region.ops else None


def _count_reshapes(uses: Uses, region: _Region, shape: Shape, sizes: Sequence[int]) -> int:
    def has_axes(whole: Value, rows: Value) -> bool:
        return whole.shape == (*shape, rows.shape[-1]) and whole.sizes == (*sizes, rows.sizes[-1])

    made = sum(not has_axes(_source(op), op.outputs[0]) for op in region.flattened)
    restored = sum(not has_axes(op.outputs[0], _source(op)) for op in region.restored)
    return made + restored + sum(_needs_rows(uses, region, value) for value in region.rows)


def _needs_rows(uses: Uses, region: _Region, rows: Value) -> bool:
    """Whether something else reads the rows, as they are."""
    others = [op for op in region.rows[rows] if op not in region.ops and not _is_reshape(op)]
    return bool(others) or rows in uses.outputs


def _keep_axes(uses: Uses, region: _Region, shape: Shape, sizes: Sequence[int]) -> None:
    wholes: dict[Value, Value] = {}
    for op in region.flattened:
        rows = op.outputs[0]
        wholes[rows] = _with_axes(rows, shape, sizes)
        uses.insert_after(op, _reshape(_source(op), wholes[rows]))
    for op in region.ops:
        rows = op.outputs[0]
        for value in op.values_read:
            uses.redirect(op, value, wholes[value])
        wholes[rows] = _with_axes(rows, shape, sizes)
        op.outputs, wholes[rows].producer = [wholes[rows]], op
        if op.operator == OPERATOR.FULLY_CONNECTED:
            options: schema.FullyConnectedOptionsT = op.options
            options.keepNumDims = True
        if _needs_rows(uses, region, rows):
            uses.insert_after(op, _reshape(wholes[rows], rows))
    for op in region.restored:
        uses.redirect(op, _source(op), wholes[_source(op)])
        _drop_identity(uses, op)
    for rows in (op.outputs[0] for op in region.flattened):
        producer = wholes[rows].producer
        assert producer is not None, rows.names
        _drop_identity(uses, producer)


def _with_axes(rows: Value, shape: Shape, sizes: Sequence[int]) -> Value:
    return Value(rows.names, (*shape, rows.shape[-1]), (*sizes, rows.sizes[-1]), rows.dtype, like=rows)


def _reshape(source: Value, result: Value) -> PlannedOp:
    sizes = [-1 if known is None else size for known, size in zip(result.shape, result.sizes, strict=True)]
    constant = Constant(f"{result.names[0]}/shape", np.array(sizes, np.int32))
    return PlannedOp(OPERATOR.RESHAPE, [source, constant], [result], schema.ReshapeOptionsT(newShape=sizes))


def _drop_identity(uses: Uses, op: PlannedOp) -> None:
    """A reshape to the shape that is there already goes; the names of its result stay."""
    source, result = _source(op), op.outputs[0]
    if (source.shape, source.sizes) == (result.shape, result.sizes):
        if source not in uses.inputs and source.producer is not None:
            source.names += [name for name in result.names if name not in source.names]
        uses.replace(result, source)
