"""Parts of C source: names, float literals that keep their bits, arrays."""

import numpy as np
import pytest

from qat.deploy.c_text import array_body, bytes_body, float_literal, identifier


@pytest.mark.parametrize(
    ("text", "name"),
    [("my-model", "my_model"), ("2nd", "_2nd"), ("class", "class_"), ("größe", "gr__e"), ("", "_"), ("ok", "ok")],
)
def test_any_text_becomes_an_identifier(text, name):
    assert identifier(text) == name


@pytest.mark.parametrize("value", [0.1, 1.0, -3.0, 1e-30, 16777217.0, 1 / 255])
def test_a_float_literal_is_the_same_float32(value):
    literal = float_literal(value)
    assert literal.endswith("f")
    assert np.float32(literal[:-1]) == np.float32(value)


def test_integers_that_c_cannot_write_are_written_otherwise():
    assert array_body([np.iinfo(np.int64).min]) == "    (-9223372036854775807LL - 1),\n"
    assert array_body(np.array([2**31, -1])) == "    2147483648LL, -1,\n"


def test_arrays_are_broken_into_lines():
    assert array_body(np.arange(5, dtype=np.int8), per_line=2) == "    0, 1,\n    2, 3,\n    4,\n"
    assert bytes_body(b"\x00\xff\x10", per_line=2) == "    0x00, 0xff,\n    0x10,\n"
