"""Kernels and biases of the file, and the weights that they are made of."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.errors import ModelError
from qat.export.traced_function import trace_model
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read

from ..small_models import images

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


def test_the_file_holds_kernels_and_biases_on_their_scales(quantized):
    for op, kernel, bias, scales, steps in products(convert(quantized)):
        channels = kernel.shape[-1] if op == "DEPTHWISE_CONV_2D" else kernel.shape[0]
        assert len(scales) == len(steps) in (1, channels)
        assert bias.shape == (channels,)
        assert np.abs(kernel).max() == 127
        ratios = np.divide(steps, scales)  # the input's scale, which is one for all channels
        np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)


@pytest.mark.medium
def test_a_trace_that_is_converted_again_takes_the_kernel_as_it_is_then(quantized):
    traced = trace_model(quantized)
    before = convert(traced)
    kernel = kernel_of(quantized, "wide")
    kernel.assign(-kernel)
    after = convert(traced)
    assert np.any(Interpreter(before).predict(images(4)) != Interpreter(after).predict(images(4)))
    expected = quantized.predict(images(40), verbose=0)
    np.testing.assert_allclose(Interpreter(after).predict(images(40)), expected, atol=1.5 / 256)


def test_nan_in_a_kernel_is_named():
    model = quantize_model(network(), images(8))
    kernel = kernel_of(model, "wide")
    kernel.assign(kernel * np.nan)
    with pytest.raises(ModelError, match=r"1 weights hold NaN or infinity: '.*wide.*kernel.*A training has diverged"):
        convert(model)
