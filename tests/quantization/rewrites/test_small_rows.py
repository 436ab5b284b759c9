"""Normalizations of rows that differ much in size keep the small ones."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.rewrites import canonicalize
from qat.quantization.rewrites.small_rows import sum_products
from qat.tflite import Interpreter, convert

from ..zoo.drawing import make
from .acting import raw

SHAPE = (16, 12)
SMALL = 0.2
ROWS = np.random.default_rng(0).normal(size=(128, *SHAPE)).astype(np.float32)
BRIGHT_AND_DARK = ROWS * np.where(np.arange(16) % 4 == 0, 1.0, SMALL).astype(np.float32)[:, None]


def norm(x):
    return layers.Dense(5)(layers.LayerNormalization(epsilon=1e-6)(x))


def root_mean_square(x):
    return layers.Dense(5)(x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6))


def ops_and_sqnr(function, rows, **settings):
    """Ops of the file, and what it keeps of the outputs; file and model agree in every code, but for float sums."""
    model = make("rows", raw(function, SHAPE))
    quantized = quantize_model(model, rows, config=QuantConfig(name="ptq", **settings))
    file = Interpreter(convert(quantized, allow_float=bool(settings)))
    found = file.predict(rows)
    differs = ~np.isclose(found, quantized.predict(rows, verbose=0), rtol=1e-4, atol=2e-5)
    assert np.mean(differs) <= (1e-3 if settings else 0.0)
    return [op.name for op in file.graph.ops], sqnr_db(model.predict(rows, verbose=0), found)


@pytest.mark.parametrize("function", [norm, root_mean_square])
def test_small_rows_are_summed_in_32_bits(function, monkeypatch):
    ops, kept = ops_and_sqnr(function, BRIGHT_AND_DARK)
    assert "BATCH_MATMUL" in ops
    monkeypatch.setattr("qat.quantization.quantize.sum_products", lambda *_: None)
    before, kept_before = ops_and_sqnr(function, BRIGHT_AND_DARK)
    assert "BATCH_MATMUL" not in before
    assert kept > kept_before + 3


@pytest.mark.parametrize("function", [norm, root_mean_square])
def test_rows_of_one_size_are_left_as_they_are(function):
    assert "BATCH_MATMUL" not in ops_and_sqnr(function, ROWS)[0]


def test_a_layer_in_float_is_left_alone():
    assert "BATCH_MATMUL" not in ops_and_sqnr(norm, BRIGHT_AND_DARK, skip=["layer_normalization"])[0]


@pytest.mark.parametrize("function", [
    lambda x: layers.LayerNormalization(axis=[1, 2])(x),
    lambda x: tf.sqrt(tf.reduce_mean(tf.square(x), -1)),
    lambda x: tf.reduce_mean(tf.square(x), -1, keepdims=True),
])  # fmt: skip
def test_other_means_of_squares_stay(function):
    graph = canonicalize(make("rows", raw(function, SHAPE)))
    before = [node.op for node in graph.nodes]
    sum_products(graph, [[BRIGHT_AND_DARK]], frozenset())
    assert [node.op for node in graph.nodes] == before


def test_training_goes_through_the_product_as_in_float():
    model = make("rows", raw(norm, SHAPE))
    quantized = quantize_model(model, BRIGHT_AND_DARK)
    quantized.fake_quantization(False)
    gradients = []
    for each in (model, quantized):
        with tf.GradientTape() as tape:
            tape.watch(entry := tf.constant(BRIGHT_AND_DARK))
            loss = tf.reduce_mean(tf.square(each(entry, training=True) - 0.3))
        gradients.append(tape.gradient(loss, [entry, *each.trainable_variables]))
    for expected, found in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def test_a_trained_model_is_its_file():
    tf_keras.utils.set_random_seed(0)
    quantized = quantize_model(make("rows", raw(norm, SHAPE)), BRIGHT_AND_DARK)
    quantized.compile("adam", "mse")
    quantized.fit(BRIGHT_AND_DARK, np.zeros((128, 16, 5)), epochs=1, verbose=0)
    found = Interpreter(convert(quantized)).predict(ROWS)
    np.testing.assert_allclose(found, quantized.predict(ROWS, verbose=0), rtol=1e-4, atol=2e-5)
