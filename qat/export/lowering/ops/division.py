"""Division, with operators before and after it for cases that LiteRT's kernel cannot compute.

The kernel fails at run time on a denominator at the code of 0. Where a quotient is a small part of the output's scale,
it shifts by more bits than an int32 has: the result is 1 or an end of the range in the place of 0.
"""

from __future__ import annotations

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.lowering import Context
from qat.export.lowering.planned_ops import OPERATOR, Number, Operand, Value
from qat.export.lowering.scales import HIGHEST, LOWEST, Grid

WIDEST = 8  # bits of the largest difference of two codes
VANISHING = 0.5  # share of a scale: smaller quotients round to 0
CLOSE_TO_1 = 0.75


def div(context: Context) -> Value:
    """A denominator of 0 becomes one scale, a quotient that rounds to 0 becomes 0."""
    above, below = context.operands
    if not isinstance(below, Value) or below.grid is None:
        return context.add_op(OPERATOR.DIV, [above, below], schema.DivOptionsT())
    below = _avoid_zero(context, below)
    quotient = context.add_op(OPERATOR.DIV, [above, below], schema.DivOptionsT())
    result = _result_grid(context)
    if not isinstance(above, Value) or above.grid is None or result is None:
        return quotient
    multiplier = above.grid.scale / (below.known_grid.scale * result.scale)
    if math.frexp(multiplier)[1] >= WIDEST - 1:
        return quotient
    negligible = _is_negligible(context, above, below, VANISHING * result.scale)
    zero = Number(f"{context.name}/nothing", np.array(0.0, np.float32), result)
    operands: list[Operand | None] = [negligible, zero, _set_grid(result, quotient)]
    return context.add_op(OPERATOR.SELECT_V2, operands, schema.SelectV2OptionsT(), like=quotient, one_grid=True)


def _avoid_zero(context: Context, x: Value) -> Value:
    """Codes of 0 moved by one towards the other codes; up, if these are on both sides."""
    grid = x.known_grid
    down = grid.zero_point == HIGHEST
    smallest = Number(f"{context.name}/step", np.array(-grid.scale if down else grid.scale, np.float32), grid)
    result = _new_value(context, "denominator", x, x)
    if down or grid.zero_point == LOWEST:
        operator = OPERATOR.MINIMUM if down else OPERATOR.MAXIMUM
        context.lowering.add_op(operator, [x, smallest], [result], schema.MaximumMinimumOptionsT(), one_grid=True)
        return result
    zero = Number(f"{context.name}/zero", np.array(0.0, np.float32), grid)
    is_zero = Value([context.lowering.unique(f"{context.name}/is_zero")], x.shape, x.sizes, "bool")
    context.lowering.add_op(OPERATOR.EQUAL, [x, zero], [is_zero], schema.EqualOptionsT())
    context.lowering.add_op(
        OPERATOR.SELECT_V2, [is_zero, smallest, x], [result], schema.SelectV2OptionsT(), one_grid=True
    )
    return result


def _is_negligible(context: Context, above: Value, below: Value, least: float) -> Value:
    """Where the quotient is smaller than `least`.

    LESS takes scales below 1 and compares real numbers by 1/256: both sides are brought close to 1 for each code of the
    numerator. Their codes stay, so nothing is rounded. Closer to `least` than that, the kernel divides rightly.
    """
    numerator, denominator = _magnitude(context, above), _magnitude(context, below)
    ratio = least * denominator.known_grid.scale / numerator.known_grid.scale
    scale = CLOSE_TO_1 / max(1.0, ratio)
    sides: list[Operand | None] = [
        _rescale(context, numerator, scale / numerator.known_grid.scale, "numerator"),
        _rescale(context, denominator, scale * least / numerator.known_grid.scale, "smallest"),
    ]
    negligible = context.result()
    negligible.dtype = "bool"
    context.lowering.add_op(OPERATOR.LESS, sides, [negligible])
    return negligible


def _rescale(context: Context, x: Value, factor: float, suffix: str) -> Value:
    """`factor` times x: the same codes on another grid."""
    grid, one = (
        x.known_grid,
        Number(f"{context.name}/{suffix}_factor", np.array(factor, np.float32), Grid.symmetric(factor)),
    )
    result = _set_grid(
        Grid(grid.scale * factor, grid.zero_point, grid.low * factor, grid.high * factor),
        _new_value(context, suffix, x),
    )
    context.lowering.add_op(OPERATOR.MUL, [x, one], [result], schema.MulOptionsT())
    return result


def _magnitude_grid(x: Value) -> Grid:
    """For its absolute values, without rounding."""
    return Grid(x.known_grid.scale, LOWEST, 0.0, x.known_grid.scale * (HIGHEST - LOWEST))


def _magnitude(context: Context, x: Value) -> Value:
    """Its absolute value."""
    if x.known_grid.zero_point == LOWEST:
        return x
    result = _set_grid(_magnitude_grid(x), _new_value(context, "size", x))
    context.lowering.add_op(OPERATOR.ABS, [x], [result])
    return result


def _result_grid(context: Context) -> Grid | None:
    """The grid of the range after the op."""
    (result,), lowering = context.call.outputs, context.lowering
    ranges = [
        call.layer for call in lowering.network.calls if result in call.inputs and call.layer in lowering.weights.ranges
    ]
    return lowering.weights.ranges[ranges[0]] if ranges else None


def _new_value(context: Context, suffix: str, x: Value, like: Value | None = None) -> Value:
    """As large as `x`; on its grid, if it is given as `like`."""
    return Value([context.lowering.unique(f"{context.name}/{suffix}")], x.shape, x.sizes, x.dtype, like)


def _set_grid(grid: Grid, value: Value) -> Value:
    value.representation.grid = grid
    return value
