"""Models that were saved before an op was renamed load."""

from qat.quantization.ir.operations import OPERATIONS, RENAMED_OPS
from qat.quantization.keras.op import Op


def test_an_op_saved_by_its_old_name_has_its_new_one():
    assert set(RENAMED_OPS.values()) <= set(OPERATIONS)
    for old, new in RENAMED_OPS.items():
        assert Op.from_config({"op": old, "attrs": {}, "operands": ["x"], "weights": {}, "name": "real"}).op == new
