"""Divisions that LiteRT's kernel cannot do: by the code of 0, and where a quotient is a part of a step."""

import numpy as np
import pytest
import tf_keras

from qat.export import convert
from qat.quantization import quantize_model
from qat.tflite.runtime.interpreter import Interpreter


def _all_pairs(file):
    """Every code of the one input with every code of the other, as real numbers."""
    pairs = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    codes = [codes.reshape(-1, 4) for codes in pairs]
    grids = [tensor.quantization for tensor in file.inputs]
    return [((c - g.zero_point[0]) * g.scale[0]).astype("float32") for c, g in zip(codes, grids, strict=True)]


@pytest.mark.parametrize(
    ("signs", "least", "size", "made_before"),
    [
        ((1,), 0.5, 30.0, ["MAXIMUM", "DIV", "ABS"]),
        ((-1,), 0.02, 1.0, ["MINIMUM", "DIV", "ABS", "ABS"]),
        ((-1, 1), 0.05, 0.1, ["EQUAL", "SELECT_V2", "DIV", "ABS", "ABS"]),
    ],
    ids=["positive", "negative", "both"],
)
def test_the_file_divides_every_code_by_every_code_as_the_model_does(signs, least, size, made_before):
    rng = np.random.default_rng(0)
    above = (size * rng.normal(size=(256, 4))).astype("float32")
    below = (rng.uniform(least, 4, (256, 4)) * rng.choice(signs, (256, 4))).astype("float32")
    entries = tf_keras.Input((4,), name="above"), tf_keras.Input((4,), name="below")
    quantized = quantize_model(tf_keras.Model(entries, entries[0] / entries[1]), [above, below])
    file = Interpreter(convert(quantized))
    assert [op.name for op in file.graph.main.ops] == [*made_before, "MUL", "MUL", "LESS", "SELECT_V2"]
    rows = _all_pairs(file)
    step = float(file.outputs[0].quantization.scale[0])
    apart = np.rint(file.predict(rows) / step) - np.rint(quantized(rows).numpy() / step)
    assert not apart.any()
