"""Ways to a file that other people take: TensorFlow's own converters, parts of a QAT model, models around one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.errors import ModelError
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

ROWS = np.random.default_rng(0).uniform(-1, 1, (128, 8, 8, 3)).astype("float32")


def network() -> tf_keras.Model:
    entry = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="features")(entry)
    x = layers.DepthwiseConv2D(3, name="each")(x)
    return tf_keras.Model(entry, layers.Dense(3, name="scores")(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def quantized() -> tf_keras.Model:
    tf_keras.utils.set_random_seed(0)
    return quantize_model(network(), ROWS)


def of_keras(model: tf_keras.Model, folder: Path) -> tf.lite.TFLiteConverter:
    return tf.lite.TFLiteConverter.from_keras_model(model)


def of_function(model: tf_keras.Model, folder: Path) -> tf.lite.TFLiteConverter:
    function = tf.function(lambda image: model(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec([1, 8, 8, 3], tf.float32))
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)


def of_saved_model(model: tf_keras.Model, folder: Path) -> tf.lite.TFLiteConverter:
    model.save(folder / "saved", save_format="tf")
    return tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))


def of_export(model: tf_keras.Model, folder: Path) -> tf.lite.TFLiteConverter:
    model.export(str(folder / "exported"))
    return tf.lite.TFLiteConverter.from_saved_model(str(folder / "exported"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", [of_keras, *(pytest.param(way, marks=pytest.mark.slow) for way in (of_function, of_saved_model, of_export))]
)
def test_tensorflows_converter_takes_a_qat_model(way, quantized, tmp_path) -> None:
    converter = way(quantized, tmp_path)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    assert any(tensor.dtype == np.int8 for tensor in _tensors(content))


def _tensors(content: bytes) -> list:
    from qat.tflite.reader import read

    graph = read(content)
    return [type("T", (), {"dtype": np.dtype(t.dtype)}) for t in (graph.tensors[i] for i in range(len(graph.tensors)))]


def test_a_float_model_around_it_keeps_its_float_layers(quantized) -> None:
    entry = tf_keras.Input((8, 8, 3))
    around = tf_keras.Model(entry, layers.Dense(2, name="head")(quantized(entry)))
    content = convert(around, allow_float=True)
    assert not verify(content).integer_only
    found = Interpreter(content).predict(ROWS)
    wanted = around.layers[-1](quantized.predict(ROWS, verbose=0)).numpy()
    np.testing.assert_allclose(found, wanted, atol=0.02)


@pytest.mark.parametrize("cell", [pytest.param(layers.GRU, marks=pytest.mark.slow), layers.SimpleRNN])
def test_dropout_of_a_cell_is_not_in_the_file(cell) -> None:
    series = tf_keras.Input((3, 4))
    model = tf_keras.Model(series, layers.Dense(2)(cell(3, dropout=0.2, recurrent_dropout=0.2)(series)))
    rows = np.random.default_rng(0).normal(size=(128, 3, 4)).astype("float32")
    quantized = quantize_model(model, rows)
    content = convert(quantized)
    assert verify(content).integer_only
    np.testing.assert_allclose(Interpreter(content).predict(rows), quantized.predict(rows, verbose=0), rtol=1e-6)


@pytest.mark.parametrize("bits", [4, 3])
def test_narrow_weights_are_in_the_file_as_the_model_computes_with_them(bits) -> None:
    quantized = quantize_model(network(), ROWS, config=QuantConfig(weight_bits=bits))
    found = Interpreter(convert(quantized)).predict(ROWS)
    np.testing.assert_allclose(found, quantized.predict(ROWS, verbose=0), rtol=1e-6)


def test_a_part_that_begins_behind_a_range_is_refused_by_layer(quantized) -> None:
    ranges = [layer for layer in quantized.layers if type(layer).__name__ == "RangeLayer"]
    part = tf_keras.Model(ranges[1].output, quantized.output)
    with pytest.raises(ModelError, match="whose range stands before"):
        convert(part, allow_float=True)
