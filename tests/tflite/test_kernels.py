"""Kernels, kept out of the conversion: the finished file holds what it would hold with them in it."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.errors import ModelError
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read, verify
from qat.tflite.tracing import trace

from .conftest import images

PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def network():
    """Convolutions and dense layers with and without bias and BatchNormalization, one of them called twice."""
    tf_keras.utils.set_random_seed(3)
    image = tf_keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    x = layers.BatchNormalization()(layers.Conv2D(12, 3, use_bias=False)(x))
    x = layers.DepthwiseConv2D(3)(layers.ReLU(6.0)(x))
    x = layers.Dense(10, name="wide")(layers.Conv2D(12, 3, groups=2)(x))
    x = layers.Dense(8, use_bias=False, activation="relu")(layers.Flatten()(x))
    twice = layers.Dense(8, name="twice")
    model = tf_keras.Model(image, layers.Dense(4, activation="softmax")(twice(twice(x))))
    for variable in model.weights:
        variable.assign(variable + np.random.default_rng(1).normal(0, 0.1, variable.shape) ** 2)
    return model


def products(content):
    """(op, codes of the kernel, codes of the bias or None, their scales) of each product."""
    file = read(content)
    for op in file.ops:
        if op.name in PRODUCTS:
            kernel, bias = (file.tensors[index] if index >= 0 else None for index in op.inputs[1:3])
            yield op.name, kernel.data, bias and bias.data, kernel.scales, bias and bias.scales


def kernel_of(model, layer):
    return next(each for each in model.trainable_weights if layer in each.name and "kernel" in each.name)


@pytest.fixture(scope="module", params=[True, False], ids=["per_channel", "per_tensor"])
def quantized(request):
    return quantize_model(network(), images(32), config=QuantConfig(per_channel=request.param))


def assert_same_weights(found, expected):
    for (op, *ours), (other, *theirs) in zip(products(found), products(expected), strict=True):
        assert op == other
        for a, b in zip(ours[:2], theirs[:2], strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(ours[2:], theirs[2:], strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=5e-7)


def test_the_file_holds_the_same_codes(quantized):
    whole, apart = convert(trace(quantized).with_kernels_inside()), convert(quantized)
    assert len(trace(quantized).kernels_apart) == 7  # not the one that two calls have on other ranges
    assert_same_weights(apart, whole)
    assert len(apart) < 1.05 * len(whole) + 1000
    assert verify(apart).integer_only


def test_a_trace_that_is_converted_again_takes_the_kernel_as_it_is_then(quantized):
    traced = trace(quantized)
    before = convert(traced)
    kernel = kernel_of(quantized, "wide")
    kernel.assign(-kernel)
    after = convert(traced)
    assert np.any(Interpreter(before).predict(images(4)) != Interpreter(after).predict(images(4)))
    expected = quantized.predict(images(40), verbose=0)
    np.testing.assert_allclose(Interpreter(after).predict(images(40)), expected, atol=1.5 / 256)


def test_a_kernel_that_finds_no_place_is_converted_with_the_rest(quantized, monkeypatch):
    expected = convert(quantized)
    monkeypatch.setattr("qat.tflite.kernels.mark_of", lambda content, op: 0)
    traced = trace(quantized)
    assert_same_weights(convert(traced), expected)
    assert traced.kernels_apart == []  # and at once the next time


def test_the_graph_that_is_converted_holds_no_kernel(quantized):
    traced = trace(quantized)
    convert(traced)
    sizes = {variable.shape.num_elements() for variable in traced.module.frozen.variables.values()}
    assert max(sizes) <= 8 * 8  # that of the layer called twice


def test_nan_in_a_kernel_is_named():
    model = quantize_model(network(), images(8))
    kernel = kernel_of(model, "wide")
    kernel.assign(kernel * np.nan)
    with pytest.raises(ModelError, match=r"1 weights hold NaN or infinity: '.*wide.*kernel.*A training has diverged"):
        convert(model)
