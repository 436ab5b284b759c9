"""Ops whose operands and result share one grid, reductions, comparisons and logic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.file import TYPES
from qat.export.lowering.lowering import Context
from qat.export.lowering.planned_ops import OPERATOR, Number, Operand, Value


def _joined(context: Context, operator: int, operands: Sequence[Operand], options: Any) -> Value:
    """On the grid that all operands have; else on that of the range behind it."""
    values = [each for each in operands if isinstance(each, Value) and each.stands_for_reals]
    grids = {value.grid for value in values}
    same = len(grids) == 1 and None not in grids and not any(isinstance(each, Number) for each in operands)
    made = context.result(values[0] if same else None)
    context.lowering.step(operator, operands, [made], options, one_grid=True)
    return made


def concat(context: Context) -> Value:
    axis = int(context.attrs["axis"]) % len(context.call.kept[0].shape)
    return _joined(context, OPERATOR.CONCATENATION, context.operands, schema.ConcatenationOptionsT(axis=axis))


def pack(context: Context) -> Value:
    axis = int(context.attrs["axis"]) % len(context.call.kept[0].shape)
    options = schema.PackOptionsT(valuesCount=len(context.operands), axis=axis)
    return _joined(context, OPERATOR.PACK, context.operands, options)


def maximum(context: Context) -> Value:
    return _joined(context, OPERATOR.MAXIMUM, context.operands, schema.MaximumMinimumOptionsT())


def minimum(context: Context) -> Value:
    return _joined(context, OPERATOR.MINIMUM, context.operands, schema.MaximumMinimumOptionsT())


def select(context: Context) -> Value:
    return _joined(context, OPERATOR.SELECT_V2, context.operands, schema.SelectV2OptionsT())


def masked(context: Context) -> Value:
    """Scores, and the lowest code where they are hidden from a softmax."""
    lowest = Number(f"{context.name}/hidden", np.array([-1e9], np.float32))
    return _joined(context, OPERATOR.SELECT_V2, [*context.operands, lowest], schema.SelectV2OptionsT())


def _reduced(context: Context, operator: int, like: Value | None = None) -> Value:
    axes = [int(axis) % context.x.rank for axis in np.atleast_1d(context.attrs["axis"])]
    options = schema.ReducerOptionsT(keepDims=bool(context.attrs["keepdims"]))
    return context.step(operator, [context.x, context.constant("axis", axes)], options, like)


def reduced(operator: int, same_grid: bool = False) -> Callable[[Context], Value]:
    """A reduction over axes, on a grid of its own or on that of what is reduced."""
    return lambda context: _reduced(context, operator, context.x if same_grid else None)


def argmax(context: Context) -> Value:
    made = context.result()
    axis = context.constant("axis", int(context.attrs["axis"]) % context.x.rank)
    options = schema.ArgMaxOptionsT(outputType=TYPES[made.dtype])
    context.lowering.step(OPERATOR.ARG_MAX, [context.x, axis], [made], options)
    return made


def on_all(operator: int) -> Callable[[Context], Value]:
    """An operator on all operands."""
    return lambda context: context.step(operator, context.operands)


JOINING: dict[str, Callable[[Context], Value]] = {
    "argmax": argmax,
    "concat": concat,
    "equal": on_all(OPERATOR.EQUAL),
    "greater": on_all(OPERATOR.GREATER),
    "greater_equal": on_all(OPERATOR.GREATER_EQUAL),
    "less": on_all(OPERATOR.LESS),
    "less_equal": on_all(OPERATOR.LESS_EQUAL),
    "logical_and": on_all(OPERATOR.LOGICAL_AND),
    "logical_not": on_all(OPERATOR.LOGICAL_NOT),
    "logical_or": on_all(OPERATOR.LOGICAL_OR),
    "masked": masked,
    "maximum": maximum,
    "mean": reduced(OPERATOR.MEAN),
    "minimum": minimum,
    "not_equal": on_all(OPERATOR.NOT_EQUAL),
    "pack": pack,
    "reduce_all": reduced(OPERATOR.REDUCE_ALL),
    "reduce_any": reduced(OPERATOR.REDUCE_ANY),
    "reduce_max": reduced(OPERATOR.REDUCE_MAX, same_grid=True),
    "reduce_min": reduced(OPERATOR.REDUCE_MIN, same_grid=True),
    "select": select,
    "sum": reduced(OPERATOR.SUM),
}
