"""Kernels of 4 bits, which XNNPACK takes or leaves to LiteRT's own, of which each rounds in its way."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.quantization import quantize_model
from qat.quantization.keras.wrapper import LinearScheme
from qat.tflite import Interpreter, convert
from qat.tflite.reader import read

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


@pytest.mark.parametrize(("few", "of_many_scales"), [("conv", {"first", "second"}), ("first", {"second"})])
def test_few_bits_of_one_layer_leave_the_others_as_they_are(few, of_many_scales):
    tf_keras.utils.set_random_seed(0)
    stack = [
        layers.Conv2D(4, 3, name="conv"),
        layers.Flatten(),
        layers.Dense(6, name="first"),
        layers.Dense(5, name="second"),
    ]
    rows = np.random.default_rng(0).normal(size=(128, 6, 6, 3)).astype(np.float32)
    config = QuantConfig(name="qat", per_layer={few: {"weight_bits": 4}})
    quantized = quantize_model(tf_keras.Sequential([tf_keras.Input((6, 6, 3)), *stack]), rows, config=config)
    content = convert(quantized)
    file = read(content)
    dense = {
        file.tensors[op.inputs[1]].layer: file.tensors[op.inputs[1]] for op in file.ops if op.name == "FULLY_CONNECTED"
    }
    assert {layer for layer, kernel in dense.items() if kernel.per_channel} == of_many_scales
    assert {layer for layer, kernel in dense.items() if kernel.dtype == "int4"} == {few} & set(dense)
    found = Interpreter(content).predict(rows)
    np.testing.assert_allclose(found, quantized.predict(rows, verbose=0), rtol=1e-5, atol=1e-6)


def test_models_that_were_saved_with_one_scale_for_all_dense_kernels_keep_it():
    saved = {"bits": 8, "per_channel": True, "low_bit": True, "one_range": False}
    assert LinearScheme.from_config(saved).get_config() == saved
    assert "low_bit" not in LinearScheme().get_config()
