"""Kernels of 4 bits, which XNNPACK takes or leaves to LiteRT's own, of which each rounds in its way."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert

MAP = (9, 8, 12)
LAYERS = [
    (layers.Dense(11), (4,)),
    (layers.Dense(11), (5,)),
    (layers.GRU(5), (4, 3)),
    (layers.DepthwiseConv2D(3), (9, 8, 6)),
    (layers.DepthwiseConv2D(3, depth_multiplier=2), (9, 8, 5)),
    (layers.DepthwiseConv2D(3, dilation_rate=2), (9, 8, 17)),
    (layers.DepthwiseConv1D(3), (9, 6)),
    (layers.SeparableConv2D(5, 3, strides=2), MAP),
    (layers.Conv2D(6, 3, groups=2), MAP),
    (layers.Conv2D(16, 3, groups=2), MAP),
    (layers.Conv2D(5, 3), MAP),
]


@pytest.mark.parametrize(("layer", "sizes"), LAYERS, ids=lambda value: getattr(value, "name", ""))
def test_every_code_of_a_kernel_of_4_bits(layer, sizes):
    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input(sizes)
    rows = np.random.default_rng(0).normal(size=(256, *sizes)).astype(np.float32)
    model = tf_keras.Model(entry, layer(entry))
    quantized = quantize_model(model, rows, config=QuantConfig(name="qat_w4a8", weight_bits=4))
    found = Interpreter(convert(quantized)).predict(rows)
    np.testing.assert_allclose(found, quantized.predict(rows, verbose=0), rtol=1e-5, atol=1e-6)
