"""Templates are filled line by line, and nothing in them stays open."""

import pytest

from qat.deploy.template import fill

VALUES = {"name": "net", "facts": "", "raw_type": "float", "multipliers": "1", "offsets": "0", "index": "0"}


def test_a_line_with_a_condition_is_written_where_that_holds():
    quantized = fill("contract.h", VALUES | {"c_type": "int8_t"}, {"bgr": False, "quantized": True})
    plain = fill("contract.h", VALUES | {"c_type": "float"}, {"bgr": True, "quantized": False})
    assert "int8_t net_code_of_raw(float raw, int channel) {\n" in quantized
    assert "BGR" not in quantized
    assert "code_of_raw" not in plain
    assert "BGR" in plain
    assert "[if" not in quantized + plain


def test_a_placeholder_without_a_value_is_refused():
    with pytest.raises(KeyError, match="c_type"):
        fill("contract.h", VALUES, {"bgr": False, "quantized": True})
    with pytest.raises(KeyError):
        fill("feed.cc", {}, dict.fromkeys(("bgr", "quantized_in", "quantized_out", "remembers"), True))
