"""Scale and shift of a normalization in the dense layers that read it."""

import numpy as np
import pytest
import tensorflow as tf
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.ir.graph import is_fixed
from qat.quantization.rewrites import canonicalize, normalization_affine
from qat.tflite import Interpreter, convert

from ..zoo.drawing import make
from .acting import Case, check, raw

SHAPE = (4, 6)
WINDOWS = (4, 4, 6)


def norm(x):
    return layers.LayerNormalization()(x)


def root_mean_square(x):
    """RMSNorm with a scale of its own (Zhang & Sennrich 2019)."""
    scale = layers.Dense(6, use_bias=False)(tf.ones([1, 1]))
    return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-5) * scale


def two_readers(x):
    y = norm(x)
    return layers.Dense(5)(y) * layers.Dense(5, activation="sigmoid")(y)


def shifted_windows(x):
    y = tf.roll(norm(x), [-1, -2], axis=[1, 2])
    return layers.Dense(5)(tf.transpose(tf.reshape(y, [-1, 2, 2, 2, 2, 6]), [0, 1, 3, 2, 4, 5]))


def post_norm(x):
    """The sum reads the normalization, too."""
    y = norm(x)
    return norm(y + layers.Dense(6)(layers.Dense(9, activation="relu")(y)))


AFFINE = normalization_affine.affine_of_normalization
CASES = [
    Case(AFFINE, raw(lambda x: layers.Dense(5)(norm(x)), SHAPE)),
    Case(AFFINE, raw(lambda x: layers.Dense(5, use_bias=False)(norm(x)), SHAPE)),
    Case(AFFINE, raw(lambda x: layers.Dense(5)(norm(layers.Dense(6)(x))), (6,))),
    Case(AFFINE, raw(two_readers, SHAPE)),
    Case(AFFINE, raw(lambda x: layers.MultiHeadAttention(2, 3)(norm(x), norm(x)), SHAPE)),
    Case(AFFINE, raw(lambda x: layers.Dense(5)(layers.GlobalAveragePooling1D()(norm(x))), SHAPE)),
    Case(AFFINE, raw(lambda x: layers.Dense(5)(norm(x)[:, 0]), SHAPE)),
    Case(AFFINE, raw(shifted_windows, WINDOWS)),
    Case(AFFINE, raw(post_norm, SHAPE)),
    Case(normalization_affine.shift_of_normalization_past_sum, raw(post_norm, SHAPE)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)


def channelwise(function, shape=SHAPE, change=lambda model: None):
    """The ops that a vector of channels is added or multiplied by in the canonical form of a function."""
    model = make("affine", raw(function, shape))
    change(model)
    graph = canonicalize(model)
    return sorted(
        node.op
        for node in graph.nodes
        if node.op in ("add", "mul") and any(is_fixed(each) and each.shape[-1:] == (6,) for each in node.inputs)
    )


@pytest.mark.parametrize(("function", "shape", "left"), [
    (lambda x: layers.Dense(5)(norm(x)), SHAPE, []),
    (two_readers, SHAPE, []),
    (shifted_windows, WINDOWS, []),
    (lambda x: layers.Dense(5)(layers.GlobalAveragePooling1D()(norm(x))), SHAPE, []),
    (lambda x: layers.Dense(5)(norm(x)[:, 0]), SHAPE, []),
    (post_norm, SHAPE, ["add", "mul", "mul"]),  # of the sum the scale, of the last one both
])  # fmt: skip
def test_what_is_left_of_the_affine(function, shape, left):
    assert channelwise(function, shape) == left


def set_scale(name):
    def change(model):
        layer = next(each for each in model.layers if isinstance(each, layers.LayerNormalization))
        scale, shift = layer.get_weights()
        layer.set_weights([np.where(np.arange(6) == 2, 90.0, 1.0) if name == "outlier" else scale, shift])
        dense = next(each for each in model.layers if isinstance(each, layers.Dense))
        kernel, bias = dense.get_weights()
        centroids = np.array([-0.31, -0.12, 0.05, 0.43])[np.arange(kernel.size).reshape(kernel.shape) % 4]
        dense.set_weights([centroids if name == "clusters" else kernel, bias])

    return change


@pytest.mark.parametrize("name", ["outlier", "clusters"])
def test_a_scale_that_costs_codes_stays_outside(name):
    assert channelwise(lambda x: layers.Dense(30)(norm(x)), change=set_scale(name)) == ["mul"]


def test_a_dense_layer_of_two_inputs_keeps_its_kernel():
    def shared(x):
        dense = layers.Dense(5)
        return dense(norm(x)) + dense(x)

    assert channelwise(shared) == ["add", "mul"]


def test_what_is_more_than_moved_is_not_gone_through():
    assert channelwise(lambda x: layers.Dense(5)(tf.nn.relu(norm(x)))) == ["add", "mul"]
    assert channelwise(lambda x: layers.Dense(5)(layers.Dropout(0.5)(norm(x)))) == ["add", "mul"]
    assert channelwise(lambda x: layers.Dense(5)(tf.concat([norm(x), x], 1))) == ["add", "mul"]
    assert channelwise(lambda x: layers.Dense(5)(tf.reverse(norm(x), [-1]))) == ["add", "mul"]


def test_scale_and_shift_are_trained_as_in_float():
    model = make("affine", raw(post_norm, SHAPE))
    rows = np.random.default_rng(0).normal(size=(128, *SHAPE)).astype(np.float32)
    quantized = quantize_model(model, rows)
    quantized.fake_quantization(False)
    gradients = []
    for each in (model, quantized):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(each(rows, training=True) - 0.3))
        gradients.append(tape.gradient(loss, each.trainable_variables))
    for expected, found in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_the_file_loses_less():
    """Two roundings to nearly one grid less: the shift, and what is left of the scale."""
    model = make("affine", raw(lambda x: layers.Dense(5)(layers.GlobalAveragePooling1D()(norm(x))), (16, 16)))
    rows = np.random.default_rng(0).normal(size=(256, 16, 16)).astype(np.float32)
    quantized = quantize_model(model, rows)
    found, expected = Interpreter(convert(quantized)).predict(rows), model.predict(rows, verbose=0)
    assert 10 * np.log10(np.mean(expected**2) / np.mean((found - expected) ** 2)) > 30
    np.testing.assert_allclose(found, quantized.predict(rows, verbose=0), rtol=1e-5, atol=1e-6)


def test_the_scale_takes_no_codes_of_kernels_of_few_bits():
    model = make("affine", raw(lambda x: layers.Dense(5)(norm(x)), SHAPE))
    ops = [node.op for node in canonicalize(model, few_bits=True).nodes]
    assert ops.count("mul") == [node.op for node in canonicalize(model).nodes].count("mul") + 1
    assert ops.count("add") == 1  # of the epsilon: the shift is in the bias
