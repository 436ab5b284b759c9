"""Kernels compute the same numbers in NumPy, op by op, as in a graph of TensorFlow's."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.keras.arithmetic import integer_arithmetic
from qat.quantization.keras.grids import fake_quant_in_numpy
from qat.quantization.kernels.integer_kernels import SIMULATED_KERNELS, KernelCall

from ...small_models import images, small_cnn

SCALES = np.float32(0.017), np.float32(0.031)
SCALE = np.float32(0.023)
ATTRS = {
    "avg_pool": {"ksize": [2, 2], "strides": [2, 2], "padding": "SAME"},
    "batch_matmul": {"adj_y": True},
    "leaky_relu": {"alpha": 0.3},
    "mean": {"axis": [1, 2], "keepdims": False},
    "resize_bilinear": {"size": [7, 3]},
    "sum": {"axis": [3], "keepdims": True},
}
OF_TWO = {"add", "batch_matmul", "mul", "prelu", "squared_difference", "sub", "greater", "greater_equal", "less"}
OF_TWO |= {"div", "less_equal", "equal", "not_equal"}


@pytest.mark.parametrize("op", SIMULATED_KERNELS)
def test_a_kernel_in_numpy_is_the_kernel_in_a_graph(op):
    rng = np.random.default_rng(0)
    scales = SCALES[: 2 if op in OF_TWO else 1]
    low = 0 if op in ("rsqrt", "sqrt") else -128
    operands = [rng.integers(low, 128, (3, 5, 4, 6)).astype(np.float32) * scale for scale in scales]
    zero_points = {"zero_points": lambda: [np.float32(-3), np.float32(5)], "zero_point": lambda: np.float32(-3)}
    call, kernel = partial(KernelCall, attrs=ATTRS.get(op, {}), **zero_points), SIMULATED_KERNELS[op]

    @tf.function(autograph=False)
    def in_graph(*operands):
        return kernel(call(operands, [tf.constant(scale) for scale in scales], tf.constant(SCALE)))

    found = kernel(call(operands, scales, SCALE))
    assert isinstance(found, np.ndarray)
    expected = in_graph(*map(tf.constant, operands)).numpy()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("low", "high", "bits"), [(-1.3, 2.1, 8), (0.0, 0.7, 8), (-3.0, 0.0, 8), (-8.0, 7.9998, 16)])
def test_fake_quantization_in_numpy_is_the_op(low, high, bits):
    x = np.linspace(low - 0.5, high + 0.5, 100_001, dtype=np.float32)
    expected = tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=bits).numpy()
    np.testing.assert_array_equal(fake_quant_in_numpy(x, low, high, bits), expected)


def recurrent():
    entry = tf_keras.Input((7, 4))
    return tf_keras.Model(entry, layers.Dense(3)(layers.LSTM(6)(entry))), np.random.default_rng(0).normal(
        size=(120, 7, 4)
    ).astype(np.float32)


def attention():
    entry = tf_keras.Input((6, 8))
    x = layers.LayerNormalization()(entry + layers.MultiHeadAttention(2, 4)(entry, entry))
    return tf_keras.Model(entry, layers.Dense(3, activation="gelu")(x)), np.random.default_rng(0).normal(
        size=(120, 6, 8)
    ).astype(np.float32)


@pytest.mark.medium
@pytest.mark.parametrize("make", [lambda: (small_cnn(), images(120)), recurrent, attention])
def test_a_model_in_numpy_is_its_graph(make):
    model, rows = make()
    quantized = quantize_model(model, rows)
    with integer_arithmetic(in_numpy=True):
        found = quantized.call(tf.constant(rows[:4]), training=False)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, quantized.answers(tf.constant(rows[:4])).numpy())
