"""Layers that are named like parts of the quantized model: they are kept apart, or refused by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.errors import ModelError
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
BOTH = pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])


def model_of(of, entry, first, second, last):
    x = of.Input((6,), name=entry)
    y = of.layers.ReLU(name=second)(of.layers.Dense(3, name=first)(x))
    return of.Model(x, of.layers.Dense(2, name=last)(y), name="net")


@BOTH
@pytest.mark.parametrize(
    "names",
    [
        ("in", "in--range", "r", "out"),
        ("in", "quant_out", "r", "out"),
        ("in", "op_r--Relu--", "r", "out"),
        ("in", "d", "r", "quantized_graph"),
        ("quantized_graph", "d", "r", "out"),
    ],
)
def test_a_layer_with_the_name_of_a_part_is_saved_loaded_and_found(of, names, tmp_path):
    model = model_of(of, *names)
    quantized = quantize_model(model, ROWS)
    quantized.save(tmp_path / "model.keras")
    for each in (quantized, of.models.load_model(tmp_path / "model.keras")):
        np.testing.assert_array_equal(each.predict(ROWS, verbose=0), quantized.predict(ROWS, verbose=0))
        for name in (names[1], names[3]):
            held = each.get_layer(name).get_weights()
            for one, other in zip(held, model.get_layer(name).get_weights(), strict=True):
                np.testing.assert_array_equal(tf.convert_to_tensor(one), other)


@BOTH
@pytest.mark.parametrize(
    "names", [("in", "d", "r", "in--range"), ("r--Relu--range", "d", "r", "out"), ("in", "d", "r", "quant_d")]
)
def test_an_input_or_output_with_the_name_of_a_part_is_refused(of, names):
    with pytest.raises(ModelError, match=r"model 'net': '.*' is the name of one of its inputs or outputs.*otherwise"):
        quantize_model(model_of(of, *names), ROWS)
