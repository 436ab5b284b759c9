"""Models whose call gives what is no tensor are refused by the output's name, and taken without it."""

import keras
import numpy as np
import pytest
import tf_keras

from qat.errors import ModelError
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
GIVEN = {
    "dictionary": (lambda y: {"logits": y, "hidden": None}, "output 'hidden' is None.*, 'logits', and quantize"),
    "tuple": (lambda y: (y, None), "output '1' is None.*, '0', and quantize"),
    "nested": (lambda y: {"a": y, "b": [y, None], "c": "text"}, "output 'b/1' and output 'c' are None or a text"),
    "nothing": (lambda y: None, "model '.*': its output is None"),
}


def model_of(of, give):
    class Model(of.Model):
        def __init__(self):
            super().__init__()
            self.dense = of.layers.Dense(3)

        def call(self, x):
            return give(self.dense(x))

    model = Model()
    model(ROWS[:2])
    return model


@pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])
@pytest.mark.parametrize("name", GIVEN)
def test_an_output_that_is_no_tensor_is_named(of, name):
    give, message = GIVEN[name]
    with pytest.raises(ModelError, match=message):
        quantize_model(model_of(of, give), ROWS)


@pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])
def test_a_model_that_returns_tensors_alone_is_quantized(of):
    quantized = quantize_model(model_of(of, lambda y: {"logits": y}), ROWS)
    assert set(quantized(ROWS)) == {"logits"}
