"""What a canonical graph is as a Keras model: whose names it has, and which calls are of one layer."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.keras.build_model import UNSIGNED
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.wrapper import CanonicalWrapper

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


@pytest.mark.parametrize(("second", "dense"), [(None, 1), (False, 2)])
def test_calls_in_one_mode_are_of_one_layer_and_in_two_modes_of_two(second, dense):
    left, right = tf_keras.Input((6,), name="left"), tf_keras.Input((6,), name="right")
    shared, norm = layers.Dense(4, name="shared"), layers.BatchNormalization(name="norm")
    outputs = [norm(shared(left)), norm(shared(right), training=second)]
    model = tf_keras.Model([left, right], outputs, name="towers")
    quantized = quantize_model(model, [ROWS, ROWS])
    assert (quantized.name, quantized.input_names) == ("towers", ["left", "right"])
    wrappers = [layer for layer in quantized.layers if isinstance(layer, CanonicalWrapper)]
    assert len([each for each in wrappers if isinstance(each.layer, Linear)]) == dense
    assert [each.shape for each in quantized.trainable_variables] == [each.shape for each in model.trainable_variables]


@pytest.mark.parametrize("activation", UNSIGNED)
def test_a_range_behind_a_relu_begins_at_0(activation):
    entry = tf_keras.Input((6,))
    function = {"relu": "relu", "relu6": layers.ReLU(6.0)}[activation]
    quantized = quantize_model(tf_keras.Model(entry, layers.Dense(4, activation=function)(entry)), ROWS)
    last = [layer for layer in quantized.layers if isinstance(layer, RangeLayer)][-1]
    assert last.range[0] == 0.0
