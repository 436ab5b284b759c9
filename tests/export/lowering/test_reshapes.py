"""A dense layer of an input with more than two axes is one operator, code for code what the model computes."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.config import QuantConfig
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert
from qat.tflite.reader import read

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 7, 12)).astype(np.float32)
layers = tf_keras.layers


def two_layers(x):
    return layers.Dense(5)(layers.Dropout(0.1)(layers.Dense(16, activation="relu")(x)))


def one_input_of_three(x):
    query, key, value = (layers.Dense(6)(x) for _ in range(3))
    return layers.Add()([query, key, value])


def reshaped_otherwise(x):
    return layers.Reshape((35,))(layers.Dense(5)(x))


def on_four_axes(x):
    return layers.Dense(4)(layers.Reshape((7, 3, 4))(x))


def of_two_inputs(batch_size, **options):
    """Additive attention: what two dense layers give is added, row by row."""
    tf_keras.utils.set_random_seed(0)
    first, second = layers.Input((7, 12)), layers.Input((7, 5))
    score = layers.Dense(3)(tf.tanh(layers.Dense(6)(first) + layers.Dense(6, name="left_out")(second)))
    model = tf_keras.Model([first, second], [score, layers.Softmax()(score)])
    rows = [X, X[..., :5]]
    model = quantize_model(model, rows, config=QuantConfig(name="qat", skip=options.pop("skip", [])))
    return model, convert(model, batch_size=batch_size, **options), [each[: batch_size or 100] for each in rows]


@pytest.mark.parametrize(
    "options", [{}, {"io": "uint8"}, {"io": "float32"}, {"skip": ["left_out"], "allow_float": True}]
)
@pytest.mark.parametrize("batch_size", [None, 4])
def test_rows_of_two_inputs_are_joined_without_reshapes(options, batch_size):
    model, content, rows = of_two_inputs(batch_size, **options)
    names = [op.name for op in read(content).subgraphs[0].ops]
    assert "RESHAPE" not in names
    assert names.count("FULLY_CONNECTED") == 3
    for found, expected in zip(Interpreter(content).predict(rows), model.predict(rows, verbose=0), strict=True):
        off = np.abs(found - expected) > 2e-6
        most = 1e-3 if "skip" in options else 0.0  # float sums in another order may fall on the other side of a tie
        assert np.mean(off) <= most


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (two_layers, ["FULLY_CONNECTED"] * 2),
        (one_input_of_three, ["FULLY_CONNECTED"] * 3 + ["ADD"] * 2),
        (reshaped_otherwise, ["FULLY_CONNECTED", "RESHAPE"]),
        (on_four_axes, ["RESHAPE", "FULLY_CONNECTED"]),
    ],
)
@pytest.mark.parametrize("quantizer", ["qat", "qat_w4a8"])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_dense_layers_keep_the_axes_of_their_input(build, expected, quantizer, batch_size):
    tf_keras.utils.set_random_seed(0)
    inputs = layers.Input((7, 12))
    model = quantize_model(
        tf_keras.Model(inputs, build(inputs)),
        X,
        config=QuantConfig(name=quantizer, weight_bits=8 if quantizer == "qat" else 4),
    )
    content = convert(model, batch_size=batch_size)
    assert [op.name for op in read(content).subgraphs[0].ops] == expected
    rows = X[: batch_size or 100]
    np.testing.assert_allclose(Interpreter(content).predict(rows), model.predict(rows, verbose=0), rtol=1e-6, atol=1e-6)
