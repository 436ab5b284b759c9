"""What `quant.skip` leaves in float is left whole: nothing is quantized between its ops."""

import keras
import numpy as np
import pytest
import tf_keras

from qat.config import QuantConfig
from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert

ROWS = np.random.default_rng(0).normal(size=(128, 8, 12)).astype(np.float32)


def layer_norm(L, x):
    return L.LayerNormalization(name="m")(x)


def attention(L, x):
    return L.MultiHeadAttention(2, 6, name="m")(x, x)


def norm_and_dense(L, x):
    return L.Dense(12, activation="gelu", name="m_dense")(L.LayerNormalization(name="m")(x))


def dense_with_softmax(L, x):
    return L.Dense(4, activation="softmax", name="m")(x)


def moved(L, x):
    return L.Reshape((8, 3), name="mr")(L.AveragePooling1D(2, name="mp")(L.Dense(6, name="m")(x)))


def joined(L, x):
    return L.Concatenate(name="mc")([L.Dense(3, name="m1")(x), L.Dense(3, name="m2")(x)])


def lstm(L, x):
    return L.Dense(5, name="m_dense")(L.LSTM(4, name="m")(x))


def tower(L, x):
    keras_of = tf_keras if L is tf_keras.layers else keras
    return keras_of.Sequential([L.Dense(6, activation="relu"), L.Dense(12)], name="m")(x)


BLOCKS = [layer_norm, attention, norm_and_dense, dense_with_softmax, moved, joined, lstm, tower]


def network(block, package):
    package.utils.set_random_seed(0)
    entry = package.Input((8, 12))
    x = block(package.layers, package.layers.Dense(12, name="before")(entry))
    return package.Model(entry, package.layers.Dense(5, name="head")(x))


def converted(model, skip=()):
    quantized = quantize_model(model, ROWS, config=QuantConfig(name="qat", skip=list(skip)))
    content = convert(quantized, allow_float=bool(skip))
    return quantized, Interpreter(content)


@pytest.mark.parametrize("package", [tf_keras, keras], ids=["keras_2", "keras_3"])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_layer_of_several_ops_is_left_in_float_as_a_whole(block, package):
    model = network(block, package)
    quantized, file = converted(model, ["^m"])
    borders = [op.name for op in file.graph.ops if op.name in ("QUANTIZE", "DEQUANTIZE")]
    assert borders == ["DEQUANTIZE", "QUANTIZE"]
    found, step = file.predict(ROWS), file.outputs[0].scales[0]
    away = np.abs(found - quantized.predict(ROWS, verbose=0)) / step
    assert np.mean(away > 0.5) < 1e-3  # float kernels may add up in another order
    expected = model.predict(ROWS, verbose=0)
    assert sqnr_db(expected, found) >= sqnr_db(expected, converted(model)[1].predict(ROWS))


def test_an_lstm_that_is_unrolled_is_left_whole():
    entry = tf_keras.Input((6, 8))
    states = tf_keras.layers.LSTM(4, return_state=True, name="first")(entry)
    x = tf_keras.layers.LSTM(4, name="second")(entry, initial_state=states[1:])
    model, rows = tf_keras.Model(entry, tf_keras.layers.Dense(3)(x)), ROWS[:, :6, :8]
    quantized = quantize_model(model, rows, config=QuantConfig(skip=["^first$", "^second$"]))
    found = Interpreter(convert(quantized, allow_float=True)).predict(rows)
    assert sqnr_db(model.predict(rows, verbose=0), found) > 30


def test_what_others_read_is_quantized():
    entry = tf_keras.Input((8, 12))
    left = tf_keras.layers.Dense(6, name="left")(entry)
    both = tf_keras.layers.Dense(6, name="left_too")(left) + tf_keras.layers.Dense(6, name="other")(left)
    _, file = converted(tf_keras.Model(entry, both), ["^left"])
    assert [op.name for op in file.graph.ops].count("DEQUANTIZE") == 2  # before both: one reads what "other" reads


def test_a_trained_model_is_its_file():
    quantized, _ = converted(network(norm_and_dense, tf_keras), ["^m"])
    quantized.compile("adam", "mse")
    quantized.fit(ROWS, np.zeros((128, 8, 5)), epochs=1, verbose=0)
    file = Interpreter(convert(quantized, allow_float=True))
    away = np.abs(file.predict(ROWS) - quantized.predict(ROWS, verbose=0)) / file.outputs[0].scales[0]
    assert np.mean(away > 0.5) < 1e-3
