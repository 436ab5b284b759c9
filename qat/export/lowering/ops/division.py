"""Division, with what LiteRT's kernel cannot take kept from it.

It refuses a denominator on the code of 0 when the file runs. Where a quotient is a small part of a step, it shifts by
more bits than a number has: what should be 0 comes out as 1 or as an end of the range.
"""

from __future__ import annotations

import math

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.lowering import Context
from qat.export.lowering.planned_ops import OPERATOR, Number, Operand, Value
from qat.export.lowering.scales import HIGHEST, LOWEST, Grid

WIDEST = 8  # bits of the largest distance between two codes
VANISHING = 0.5  # of a step: what is smaller rounds to 0
CLOSE_TO_1 = 0.75


def div(context: Context) -> Value:
    """A denominator of 0 becomes one step, a quotient that rounds to 0 becomes 0."""
    above, below = context.operands
    if not isinstance(below, Value) or below.grid is None:
        return context.step(OPERATOR.DIV, [above, below], schema.DivOptionsT())
    below = _off_zero(context, below)
    quotient = context.step(OPERATOR.DIV, [above, below], schema.DivOptionsT())
    result = _result_grid(context)
    if not isinstance(above, Value) or above.grid is None or result is None:
        return quotient
    multiplier = above.grid.scale / (below.on_grid.scale * result.scale)
    if math.frexp(multiplier)[1] >= WIDEST - 1:
        return quotient
    vanishes = _vanishes(context, above, below, VANISHING * result.scale)
    zero = Number(f"{context.name}/nothing", np.array(0.0, np.float32), result)
    operands: list[Operand | None] = [vanishes, zero, _on(result, quotient)]
    return context.step(OPERATOR.SELECT_V2, operands, schema.SelectV2OptionsT(), like=quotient, one_grid=True)


def _off_zero(context: Context, x: Value) -> Value:
    """Codes of 0 moved to the side where the others are; up, if they are on both."""
    grid = x.on_grid
    down = grid.zero_point == HIGHEST
    step = Number(f"{context.name}/step", np.array(-grid.scale if down else grid.scale, np.float32), grid)
    made = _value(context, "denominator", x, x)
    if down or grid.zero_point == LOWEST:
        operator = OPERATOR.MINIMUM if down else OPERATOR.MAXIMUM
        context.lowering.step(operator, [x, step], [made], schema.MaximumMinimumOptionsT(), one_grid=True)
        return made
    zero = Number(f"{context.name}/zero", np.array(0.0, np.float32), grid)
    is_zero = Value([context.lowering.unique(f"{context.name}/is_zero")], x.shape, x.sizes, "bool")
    context.lowering.step(OPERATOR.EQUAL, [x, zero], [is_zero], schema.EqualOptionsT())
    context.lowering.step(OPERATOR.SELECT_V2, [is_zero, step, x], [made], schema.SelectV2OptionsT(), one_grid=True)
    return made


def _vanishes(context: Context, above: Value, below: Value, least: float) -> Value:
    """Where the quotient is smaller than `least`.

    LESS takes scales below 1 and compares real numbers by 1/256: both sides are brought close to 1 for each code of the
    numerator. Their codes stay, so nothing is rounded. Closer to `least` than that, the kernel divides rightly.
    """
    numerator, denominator = _size(context, above), _size(context, below)
    ratio = least * denominator.on_grid.scale / numerator.on_grid.scale
    scale = CLOSE_TO_1 / max(1.0, ratio)
    sides: list[Operand | None] = [
        _rescaled(context, numerator, scale / numerator.on_grid.scale, "numerator"),
        _rescaled(context, denominator, scale * least / numerator.on_grid.scale, "smallest"),
    ]
    vanishes = context.result()
    vanishes.dtype = "bool"
    context.lowering.step(OPERATOR.LESS, sides, [vanishes])
    return vanishes


def _rescaled(context: Context, x: Value, factor: float, word: str) -> Value:
    """`factor` times x: the same codes on another grid."""
    grid, one = x.on_grid, Number(f"{context.name}/{word}_factor", np.array(factor, np.float32), Grid.symmetric(factor))
    made = _on(
        Grid(grid.scale * factor, grid.zero_point, grid.low * factor, grid.high * factor), _value(context, word, x)
    )
    context.lowering.step(OPERATOR.MUL, [x, one], [made], schema.MulOptionsT())
    return made


def _sizes(x: Value) -> Grid:
    """For its absolute values, without rounding."""
    return Grid(x.on_grid.scale, LOWEST, 0.0, x.on_grid.scale * (HIGHEST - LOWEST))


def _size(context: Context, x: Value) -> Value:
    """Its absolute value."""
    if x.on_grid.zero_point == LOWEST:
        return x
    made = _on(_sizes(x), _value(context, "size", x))
    context.lowering.step(OPERATOR.ABS, [x], [made])
    return made


def _result_grid(context: Context) -> Grid | None:
    """Of the range behind the op."""
    (made,), lowering = context.call.outputs, context.lowering
    behind = [
        call.layer for call in lowering.network.calls if made in call.inputs and call.layer in lowering.weights.ranges
    ]
    return lowering.weights.ranges[behind[0]] if behind else None


def _value(context: Context, word: str, x: Value, like: Value | None = None) -> Value:
    """As large as `x`; on its grid, if it is given as `like`."""
    return Value([context.lowering.unique(f"{context.name}/{word}")], x.shape, x.sizes, x.dtype, like)


def _on(grid: Grid, value: Value) -> Value:
    value.held.grid = grid
    return value
