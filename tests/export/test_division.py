"""A denominator on the code of 0, which LiteRT's kernel refuses when the file runs."""

import numpy as np
import pytest
import tf_keras

from qat.export import convert
from qat.quantization import quantize_model
from qat.tflite.runtime.interpreter import Interpreter


@pytest.mark.parametrize(
    ("signs", "expected"),
    [
        ((1,), ["MAXIMUM", "MUL", "ABS", "LESS", "SELECT_V2", "DIV"]),
        ((-1,), ["MINIMUM", "ABS", "MUL", "ABS", "LESS", "SELECT_V2", "DIV"]),
        ((-1, 1), ["EQUAL", "SELECT_V2", "ABS", "MUL", "ABS", "LESS", "SELECT_V2", "DIV"]),
    ],
    ids=["positive", "negative", "both"],
)
def test_the_file_runs_and_gives_what_the_model_does(signs, expected):
    rng = np.random.default_rng(0)
    above = rng.normal(size=(256, 6)).astype("float32")
    below = (rng.uniform(0.5, 4, (256, 6)) * rng.choice(signs, (256, 6))).astype("float32")
    entries = tf_keras.Input((6,), name="above"), tf_keras.Input((6,), name="below")
    quantized = quantize_model(tf_keras.Model(entries, entries[0] / entries[1]), [above, below])
    below[:4] = 0.0
    below[4:8] = 0.001
    file = Interpreter(convert(quantized))
    assert [op.name for op in file.graph.main.ops] == expected
    np.testing.assert_allclose(
        file.predict([above, below]), quantized.predict([above, below], verbose=0), atol=1.01 * _step(file)
    )


def _step(file):
    return float(file.outputs[0].quantization.scale[0])
