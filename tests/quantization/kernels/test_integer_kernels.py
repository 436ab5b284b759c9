"""Kernels that round in a way of their own, over all of their codes: the model's numbers are the file's."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.kernels.integer_kernels import SIMULATED_KERNELS, KernelCall
from qat.tflite import Interpreter, convert

LINE = np.linspace(-3.0, 3.1, 256, dtype=np.float32).reshape(64, 4)


def same_codes(model, inputs):
    content = convert(model)
    np.testing.assert_allclose(
        Interpreter(content).predict(inputs), model.predict(inputs, verbose=0), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("function", [tf.abs, lambda x: tf.math.rsqrt(tf.nn.relu(x) + 0.01), lambda x: tf.abs(x) * 0.3])
def test_every_code_of_an_op_of_one(function):
    entry = tf_keras.Input((4,), name="line")
    same_codes(quantize_model(tf_keras.Model(entry, function(entry)), LINE), LINE)


@pytest.mark.parametrize("code", [8, 131])
def test_inverse_roots_end_where_the_iteration_of_the_kernel_ends(code):
    """For these codes 2**-20 below the nearest number, which a scale can make a code."""
    entry = tf_keras.Input((4,), name="line")
    model = quantize_model(tf_keras.Model(entry, tf.math.rsqrt(tf.nn.relu(entry) + 0.01)), LINE)
    before, behind = [layer for layer in model.layers if isinstance(layer, RangeLayer)][-2:]
    before.set_range(0.0, 2.55)
    root = np.rint(2.0**20 / np.sqrt(code)) / 2.0**20 / np.sqrt(0.01)
    behind.set_range(0.0, 255 * root / 10.5)  # the root is 10.5 codes; its neighbour below is rounded to 10
    same_codes(model, np.full((1, 4), code / 100 - 0.01, np.float32))


def test_whole_numbers_are_summed_on_halves_of_codes():
    entry = tf_keras.Input((2,), name="line")  # 0, 1 or 2: a 1 is code 127.5
    counted = tf.reduce_sum(tf.cast(entry > 0.0, tf.float32), axis=1, keepdims=True)
    rows = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    same_codes(quantize_model(tf_keras.Model(entry, counted), rows), rows)


def test_a_product_of_codes_is_exact_in_a_graph():
    """200 * -120 by these scales is -164.50002, and -164.5 if a graph multiplies the factor with one operand first."""
    scales, scale = (tf.constant(1 / 255), tf.constant(1 / 128)), tf.Variable(0.004469873)
    kernel = tf.function(lambda x, y: SIMULATED_KERNELS["mul"](KernelCall([x, y], scales, scale)) / scale)
    found = kernel(tf.constant([200.0]) * scales[0], tf.constant([-120.0]) * scales[1])
    np.testing.assert_allclose(found, [-165.0])


@pytest.mark.parametrize("low", [-1.28, -1.27])
@pytest.mark.parametrize(("reduce", "axes", "coarser"), [
    (tf.reduce_mean, [1, 2], 1), (tf.reduce_mean, [3], 1), (tf.reduce_sum, [1, 2], 2)
])  # fmt: skip
def test_means_and_sums_round_halves_to_the_even_code(low, reduce, axes, coarser):
    """Even by the code itself: with an odd zero point (of -1.27) that is another than by the distance from it."""
    entry = tf_keras.Input((4, 2, 8), name="map")
    rows = np.random.default_rng(0).uniform(-1, 1, (128, 4, 2, 8)).astype(np.float32)
    model = quantize_model(tf_keras.Model(entry, reduce(entry, axes)), rows)
    ranges = [layer for layer in model.layers if isinstance(layer, RangeLayer)]
    for layer, factor in zip(ranges, (1, coarser), strict=True):
        layer.set_range(factor * low, factor * (low + 2.55))
    same_codes(model, rows)


@pytest.mark.parametrize("share", [3.3, 2.7, 0.9])
def test_a_mean_of_codes_far_from_their_zero_point_is_rounded_as_the_kernel_does(share):
    """XNNPACK adds up the codes themselves; with a zero point of -128, float32 rounds them as larger numbers."""
    entry = tf_keras.Input((6, 6, 8), name="map")
    rng = np.random.default_rng(0)
    rows = rng.uniform(0, 6, (512, 6, 6, 8)) * rng.uniform(0, min(1, 1 / share), (512, 1, 1, 8))
    rows = rows.astype(np.float32)
    model = quantize_model(tf_keras.Model(entry, tf_keras.layers.GlobalAveragePooling2D()(entry)), rows)
    ranges = [layer for layer in model.layers if isinstance(layer, RangeLayer)]
    for layer, high in zip(ranges, (6.0, 6.0 / share), strict=True):
        layer.set_range(0.0, high)
    same_codes(model, rows)


@pytest.mark.parametrize("low", [-1.28, -1.27])
def test_a_product_rounds_as_the_kernel_that_takes_it(low):
    """XNNPACK takes a second operand with zero point 0, LiteRT's own kernel any other."""
    a, b = tf_keras.Input((6, 8), name="a"), tf_keras.Input((8, 6), name="b")
    rng = np.random.default_rng(0)
    inputs = [rng.uniform(-1, 1, (128, *x.shape[1:])).astype(np.float32) for x in (a, b)]
    model = quantize_model(tf_keras.Model([a, b], tf.matmul(a, b)), inputs)
    found = next(layer for layer in model.layers if isinstance(layer, RangeLayer) and layer.name.startswith("b--"))
    found.set_range(low, low + 2.55)
    same_codes(model, inputs)


def test_a_softmax_is_the_kernels_in_a_graph_too():
    entry = tf_keras.Input((4,), name="scores")
    scores = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    scores[0] = [6.0, 1.0, 0.0, -2.0]
    model = quantize_model(tf_keras.Model(entry, tf_keras.layers.Softmax()(entry)), scores)
    same_codes(model, scores)
    half = np.float32([[127, -59, -109, -105]]) * np.float32(0.016097274)
    of_scale = tf.constant(0.016097274), tf.constant(1 / 256)
    kernel = tf.function(lambda x: SIMULATED_KERNELS["softmax"](KernelCall([x], [of_scale[0]], of_scale[1])) * 256)
    np.testing.assert_array_equal(kernel(half), [[234, 12, 5, 6]])  # the first is 233.5 in the kernel's float32


def test_a_log_softmax_rounds_as_the_kernel_with_the_zero_point_of_its_input():
    entry = tf_keras.Input((19,), name="scores")
    scores = np.random.default_rng(11).normal(1.0, 2.0, size=(4000, 19)).astype(np.float32)
    same_codes(quantize_model(tf_keras.Model(entry, tf.nn.log_softmax(entry)), scores[:128]), scores)


@pytest.mark.parametrize("lows", [(0.0, 0.0), (-1.28, 0.0), (0.0, -1.27), (-1.28, -1.28)])
@pytest.mark.parametrize("top", [0.5, 254 / 255, 7.0])
def test_quotients_halfway_between_codes_go_where_the_reciprocal_of_the_kernel_takes_them(lows, top):
    """A range that ends on a quotient of codes has many of them: an attention's largest score over its sum."""
    above, below = tf_keras.Input((1,), name="above"), tf_keras.Input((1,), name="below")
    rng = np.random.default_rng(0)
    rows = [(low + 0.01 * rng.integers(0, 256, (4000, 1))).astype(np.float32) for low in lows]
    model = quantize_model(tf_keras.Model([above, below], above / below), [np.maximum(each, 0.1) for each in rows])
    first, second, last = [layer for layer in model.layers if isinstance(layer, RangeLayer)]
    for layer, low in zip((first, second), lows, strict=True):
        layer.set_range(low, low + 2.55)
    last.set_range(-top if min(lows) < 0 else 0.0, top)
    same_codes(model, rows)


@pytest.mark.parametrize("square", [
    lambda x: x * x, tf.square, lambda x: x**2, lambda x: x * tf.stop_gradient(x),
    lambda x: x * tf_keras.layers.Dropout(0.5)(x),
])  # fmt: skip
def test_a_product_of_a_tensor_with_itself_is_a_square_of_real_numbers(square):
    """XNNPACK squares in float32 by a table; ties are put where the integer product falls on the other side."""
    entry = tf_keras.Input((4,), name="line")
    model = quantize_model(tf_keras.Model(entry, square(entry)), LINE)
    before, *_, behind = [layer for layer in model.layers if isinstance(layer, RangeLayer)]
    step = 0.0011240447638556361  # 39 steps, squared, are half a code away from one
    before.set_range(-120 * step, 135 * step)
    behind.set_range(0.0, 255 * 9.374377259518951e-05)
    codes = (np.arange(-120, 136) * step).astype(np.float32).reshape(64, 4)
    same_codes(model, codes)
    np.testing.assert_array_equal(model(codes), model.predict(codes, verbose=0))
