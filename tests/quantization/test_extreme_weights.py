"""Zero kernels, dead channels, weights far from 1, large biases: the file computes what `predict` computes."""

import warnings

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read

ROWS = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype("float32")


def codes_apart(model, rows):
    """The largest distance between file and `predict` in codes of the output, and what `predict` gives."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "calibration has")
        quantized = quantize_model(model, rows)
    content = convert(quantized, check=False)
    expected, found = quantized.predict(rows, verbose=0), Interpreter(content).predict(rows)
    assert np.isfinite(expected).all()
    return np.abs(expected - found).max() / read(content).outputs[0].scales[0], expected


def one_layer(layer, kernel_of, bias, shape=(8, 8, 3)):
    entry = tf_keras.Input(shape)
    model = tf_keras.Model(entry, layer(entry))
    weights = layer.get_weights()
    layer.set_weights([*(kernel_of(weight) for weight in weights[:-1]), np.full_like(weights[-1], bias)])
    return model


def test_a_t_net_that_begins_as_the_identity_does_so_in_the_file():
    identity = tf_keras.initializers.Constant(np.eye(3).ravel())
    points = tf_keras.Input((32, 3))
    x = layers.GlobalMaxPooling1D()(layers.Conv1D(16, 1, activation="relu")(points))
    x = layers.Dense(9, kernel_initializer="zeros", bias_initializer=identity)(x)
    moved = layers.Dot(axes=(2, 1))([points, layers.Reshape((3, 3))(x)])
    rows = np.random.default_rng(1).normal(size=(64, 32, 3)).astype("float32")
    apart, given = codes_apart(tf_keras.Model(points, moved), rows)
    assert apart <= 1
    np.testing.assert_allclose(given, rows, atol=0.05)


LAYERS = {
    "dense": (lambda: layers.Dense(4), (6,), ROWS[:, 0, :2].reshape(64, 6)),
    "conv": (lambda: layers.Conv2D(4, 3), (8, 8, 3), ROWS),
    "depthwise": (lambda: layers.DepthwiseConv2D(3), (8, 8, 3), ROWS),
    "transposed": (lambda: layers.Conv2DTranspose(4, 3), (8, 8, 3), ROWS),
    "series": (lambda: layers.Conv1D(4, 3), (8, 3), ROWS[:, 0]),
}


@pytest.mark.medium
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("size", "bias"), [(0.0, 1.0), (1e-6, 1e6), (1e-30, 1.0), (1e30, 1.0)])
def test_the_file_of_an_extreme_layer_is_the_model(kind, size, bias):
    make, shape, rows = LAYERS[kind]
    apart, given = codes_apart(one_layer(make(), lambda kernel: kernel * size, bias, shape), rows)
    assert apart <= 1
    if size < 1:
        np.testing.assert_allclose(given, np.full_like(given, bias), rtol=0.01)


@pytest.mark.parametrize("bias", [0.0, 1.0, 1e4])
def test_channels_of_zeros_give_their_bias(bias):
    def without_first(kernel):
        return kernel * np.array([0, 1, 1, 1], np.float32)

    apart, given = codes_apart(one_layer(layers.Conv2D(4, 3), without_first, bias), ROWS)
    assert apart <= 1
    np.testing.assert_allclose(given[..., 0], bias, atol=0.02 * max(bias, 1))


@pytest.mark.medium
@pytest.mark.parametrize("size", [0.0, 1e-7])
def test_a_layer_that_is_called_on_two_scales_keeps_its_bias(size):
    """Its kernel goes through the converter, which finds the scale by itself."""
    entry, layer = tf_keras.Input((6,)), layers.Dense(6)
    model = tf_keras.Model(entry, layer(layers.ReLU()(layer(entry))))
    layer.set_weights([layer.get_weights()[0] * size, np.linspace(1, 2, 6)])
    apart, given = codes_apart(model, LAYERS["dense"][2])
    assert apart < 1.01
    np.testing.assert_allclose(given[0], np.linspace(1, 2, 6), atol=0.01)


def test_a_normalization_that_is_zero_or_divides_by_a_million_leaves_its_shift():
    for gamma, variance in ((0.0, 1.0), (1.0, 1e12)):
        entry = tf_keras.Input((8, 8, 3))
        norm = layers.BatchNormalization(
            gamma_initializer=tf_keras.initializers.Constant(gamma), beta_initializer="ones"
        )
        model = tf_keras.Model(entry, norm(layers.Conv2D(4, 3, use_bias=False)(entry)))
        norm.moving_variance.assign(np.full(4, variance))
        apart, given = codes_apart(model, ROWS)
        assert apart <= 1
        np.testing.assert_allclose(given, 1, atol=0.01)


def test_a_kernel_without_channels_of_its_own_holds_the_largest_bias():
    rows = LAYERS["dense"][2]
    model = one_layer(layers.Dense(4), lambda kernel: kernel * 1e-9, 1.0, (6,))
    quantized = quantize_model(model, np.repeat(rows, 2, axis=0), config=QuantConfig(name="qat", per_channel=False))
    np.testing.assert_allclose(Interpreter(convert(quantized, per_channel=False)).predict(rows), 1, atol=0.01)


def test_an_lstm_whose_inputs_are_tiny_keeps_its_bias():
    rows = ROWS[:, 0] * np.float32(1e-4)
    model = one_layer(layers.LSTM(4), lambda kernel: kernel * 1e-9, 1.0, (8, 3))
    apart, given = codes_apart(model, rows)
    assert apart <= 1
    assert given.min() > 0.3


def test_the_scale_in_training_is_the_files():
    """A step in training and one at inference put a kernel of small weights beside a large bias on the same grid."""
    model = one_layer(layers.Conv2D(4, 3), lambda kernel: kernel * 1e-7, 1.0)
    quantized = quantize_model(model, np.repeat(ROWS, 2, axis=0))
    wrapper = next(layer for layer in quantized.layers if hasattr(layer, "_weight_vars"))
    made = {
        training: wrapper._quantized_kernel(wrapper.layer, training)["kernel"].numpy() for training in (True, False)
    }
    np.testing.assert_array_equal(made[True], made[False])
    assert len(np.unique(made[True])) < 40  # coarse: the bias wants large steps


def test_a_zero_kernel_learns_and_its_file_follows():
    rows = LAYERS["dense"][2]
    model = one_layer(layers.Dense(4), np.zeros_like, 1.0, (6,))
    quantized = quantize_model(model, np.repeat(rows, 2, axis=0))
    quantized.compile(tf_keras.optimizers.SGD(0.1), "mse")
    target = rows @ np.random.default_rng(2).normal(size=(6, 4)).astype("float32")
    before = quantized.evaluate(rows, target, verbose=0)
    quantized.fit(rows, target, epochs=20, verbose=0)
    assert quantized.evaluate(rows, target, verbose=0) < before / 4
    content = convert(quantized)
    step = read(content).outputs[0].scales[0]
    assert np.abs(Interpreter(content).predict(rows) - quantized.predict(rows, verbose=0)).max() <= 1.01 * step
