"""Operators that are not needed go, those that can be fused are, and what is computed stays the same."""

from types import SimpleNamespace

import numpy as np
import pytest

from qat.export.lowering.planned_ops import FUSED, OPERATOR, Constant, PlannedOp, Value
from qat.export.lowering.scales import Grid
from qat.export.lowering.simplify import Uses, simplify

GRID, OTHER = Grid(0.5, 0, -64.0, 63.5), Grid(0.25, 0, -32.0, 31.75)


def value(name, grid=GRID, dtype="float32"):
    made = Value([name], (None, 2, 3), (1, 2, 3), dtype)
    made.representation.grid = grid
    return made


def transpose(source, result, perm):
    return PlannedOp(OPERATOR.TRANSPOSE, [source, Constant("perm", np.array(perm, np.int32))], [result])


def simplified(ops, inputs, outputs):
    uses = Uses(ops, inputs, outputs)
    simplify(uses)
    return uses


def test_two_transposes_that_undo_each_other_are_none():
    x, y, z = map(value, "xyz")
    uses = simplified([transpose(x, y, [0, 2, 1]), transpose(y, z, [0, 2, 1])], [x], [z])
    assert (uses.ops, uses.outputs) == ([], [x])


def test_two_transposes_that_do_not_are_one():
    x, y, z = map(value, "xyz")
    (op,) = simplified([transpose(x, y, [1, 0, 2]), transpose(y, z, [0, 2, 1])], [x], [z]).ops
    assert op.inputs[0] is x
    assert op.inputs[1].values.tolist() == [1, 2, 0]


@pytest.mark.parametrize(("grid", "kept"), [(GRID, 0), (OTHER, 1)])
def test_a_requantization_to_the_same_grid_goes(grid, kept):
    x, y = value("x"), value("y", grid)
    uses = simplified([PlannedOp(OPERATOR.QUANTIZE, [x], [y])], [x], [y])
    assert len(uses.ops) == kept


def test_two_requantizations_to_one_grid_are_one():
    x, y, z, sum_ = value("x"), value("y", OTHER), value("z", OTHER), value("sum", OTHER)
    ops = [PlannedOp(OPERATOR.QUANTIZE, [x], [each]) for each in (y, z)] + [PlannedOp(OPERATOR.ADD, [y, z], [sum_])]
    assert [op.operator for op in simplified(ops, [x], [sum_]).ops] == [OPERATOR.QUANTIZE, OPERATOR.ADD]


def test_a_relu_is_fused_into_the_addition_before_it():
    x, y, z = map(value, "xyz")
    options = SimpleNamespace(fusedActivationFunction=FUSED.NONE)
    ops = [PlannedOp(OPERATOR.ADD, [x, x], [y], options), PlannedOp(OPERATOR.RELU, [y], [z])]
    uses = simplified(ops, [x], [z])
    (op,) = uses.ops
    assert (op.operator, op.options.fusedActivationFunction) == (OPERATOR.ADD, FUSED.RELU)
    assert op.outputs == uses.outputs


def test_what_nobody_reads_is_not_written_and_a_float_input_takes_its_readers_grid():
    x, y, z, codes = value("x", None), value("y"), value("z"), value("codes", OTHER)
    ops = [
        PlannedOp(OPERATOR.QUANTIZE, [x], [codes]),
        PlannedOp(OPERATOR.ABS, [codes], [y]),
        PlannedOp(OPERATOR.ABS, [codes], [z]),
    ]
    uses = simplified(ops, [x], [z])
    assert [op.operator for op in uses.ops] == [OPERATOR.ABS]
    assert x.grid == OTHER
    assert not uses.ops[0].computes_in_float
