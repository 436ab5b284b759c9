"""Ops whose operands and result share one grid, reductions, comparisons and logic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.file import TYPES
from qat.export.lowering.lowering import Context
from qat.export.lowering.planned_ops import OPERATOR, Number, Operand, Options, Value


def _share_grid(context: Context, operator: int, operands: Sequence[Operand], options: Options) -> Value:
    """On the grid that all operands have; else on that of the range after it."""
    values = [each for each in operands if isinstance(each, Value) and each.represents_reals]
    grids = {value.grid for value in values}
    same = len(grids) == 1 and None not in grids and not any(isinstance(each, Number) for each in operands)
    result = context.result(values[0] if same else None)
    context.lowering.add_op(operator, operands, [result], options, one_grid=True)
    return result


def concat(context: Context) -> Value:
    axis = int(context.attrs["axis"]) % len(context.call.keras_outputs[0].shape)
    return _share_grid(context, OPERATOR.CONCATENATION, context.operands, schema.ConcatenationOptionsT(axis=axis))


def pack(context: Context) -> Value:
    axis = int(context.attrs["axis"]) % len(context.call.keras_outputs[0].shape)
    options = schema.PackOptionsT(valuesCount=len(context.operands), axis=axis)
    return _share_grid(context, OPERATOR.PACK, context.operands, options)


def maximum(context: Context) -> Value:
    return _share_grid(context, OPERATOR.MAXIMUM, context.operands, schema.MaximumMinimumOptionsT())


def minimum(context: Context) -> Value:
    return _share_grid(context, OPERATOR.MINIMUM, context.operands, schema.MaximumMinimumOptionsT())


def select(context: Context) -> Value:
    return _share_grid(context, OPERATOR.SELECT_V2, context.operands, schema.SelectV2OptionsT())


def masked(context: Context) -> Value:
    """Scores, and the lowest code where they are masked."""
    lowest = Number(f"{context.name}/hidden", np.array([-1e9], np.float32))
    return _share_grid(context, OPERATOR.SELECT_V2, [*context.operands, lowest], schema.SelectV2OptionsT())


def _reduce(context: Context, operator: int, like: Value | None = None) -> Value:
    axes = [int(axis) % context.x.rank for axis in np.atleast_1d(context.attrs["axis"])]
    options = schema.ReducerOptionsT(keepDims=bool(context.attrs["keepdims"]))
    return context.add_op(operator, [context.x, context.constant("axis", axes)], options, like)


def make_reduction(operator: int, same_grid: bool = False) -> Callable[[Context], Value]:
    """The function of a reduction over axes.

    Args:
        operator: number of the operator in `BuiltinOperator`.
        same_grid: whether the output has the scale and zero point of the input.

    Returns:
        A function from an op's context to its output's value, an entry of `OPERATORS`.
    """
    return lambda context: _reduce(context, operator, context.x if same_grid else None)


def _index(context: Context, operator: int, options: type[schema.ArgMaxOptionsT | schema.ArgMinOptionsT]) -> Value:
    result = context.result()
    axis = context.constant("axis", int(context.attrs["axis"]) % context.x.rank)
    context.lowering.add_op(operator, [context.x, axis], [result], options(outputType=TYPES[result.dtype]))
    return result


def argmax(context: Context) -> Value:
    return _index(context, OPERATOR.ARG_MAX, schema.ArgMaxOptionsT)


def argmin(context: Context) -> Value:
    return _index(context, OPERATOR.ARG_MIN, schema.ArgMinOptionsT)


def make_largest(output: int) -> Callable[[Context], Value]:
    """The function of one of the two outputs of TOPK_V2; what the other holds is not read.

    Args:
        output: 0 for the largest numbers, 1 for their places.

    Returns:
        A function from an op's context to the value of that output, an entry of `OPERATORS`.
    """

    def largest(context: Context) -> Value:
        result = context.result(like=None if output else context.x)
        dtype, like = (context.x.dtype, context.x) if output else ("int32", None)
        other = Value([context.lowering.unique(f"{context.name}/unread")], result.shape, result.sizes, dtype, like)
        results = [other, result] if output else [result, other]
        k = context.constant("k", int(context.attrs["k"]))
        context.lowering.add_op(OPERATOR.TOPK_V2, [context.x, k], results, schema.TopKV2OptionsT())
        return result

    return largest


def cumsum(context: Context) -> Value:
    """CUMSUM of integers; sums of real numbers are a dense layer."""
    result, attrs = context.result(), context.attrs
    options = schema.CumsumOptionsT(exclusive=bool(attrs["exclusive"]), reverse=bool(attrs["reverse"]))
    axis = context.constant("axis", int(attrs["axis"]))
    context.lowering.add_op(OPERATOR.CUMSUM, [context.x, axis], [result], options)
    return result


def make_on_all_operands(operator: int) -> Callable[[Context], Value]:
    """The function of an operator on all operands."""
    return lambda context: context.add_op(operator, context.operands)


JOINING: dict[str, Callable[[Context], Value]] = {
    "argmax": argmax,
    "argmin": argmin,
    "concat": concat,
    "cumsum": cumsum,
    "equal": make_on_all_operands(OPERATOR.EQUAL),
    "floor_div": make_on_all_operands(OPERATOR.FLOOR_DIV),
    "floor_mod": make_on_all_operands(OPERATOR.FLOOR_MOD),
    "greater": make_on_all_operands(OPERATOR.GREATER),
    "greater_equal": make_on_all_operands(OPERATOR.GREATER_EQUAL),
    "less": make_on_all_operands(OPERATOR.LESS),
    "less_equal": make_on_all_operands(OPERATOR.LESS_EQUAL),
    "logical_and": make_on_all_operands(OPERATOR.LOGICAL_AND),
    "logical_not": make_on_all_operands(OPERATOR.LOGICAL_NOT),
    "logical_or": make_on_all_operands(OPERATOR.LOGICAL_OR),
    "masked": masked,
    "maximum": maximum,
    "mean": make_reduction(OPERATOR.MEAN),
    "minimum": minimum,
    "not_equal": make_on_all_operands(OPERATOR.NOT_EQUAL),
    "pack": pack,
    "reduce_all": make_reduction(OPERATOR.REDUCE_ALL),
    "reduce_any": make_reduction(OPERATOR.REDUCE_ANY),
    "reduce_max": make_reduction(OPERATOR.REDUCE_MAX, same_grid=True),
    "reduce_min": make_reduction(OPERATOR.REDUCE_MIN, same_grid=True),
    "top_k": make_largest(0),
    "top_k_index": make_largest(1),
    "select": select,
    "sum": make_reduction(OPERATOR.SUM),
}
