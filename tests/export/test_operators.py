"""The tables that an op stands in agree: what a model can compute, the file can hold."""

from qat.export.lowering.network import PASSED_OPS
from qat.export.lowering.operators import OPERATORS
from qat.quantization.ir.operations import OPERATIONS

NONE_OF_THE_FILE = {"dropout_mask", "program", "tap"}  # of training alone, and of variables alone


def test_every_op_of_the_canonical_form_has_an_operator():
    assert set(OPERATIONS) - set(OPERATORS) - set(PASSED_OPS) == NONE_OF_THE_FILE
