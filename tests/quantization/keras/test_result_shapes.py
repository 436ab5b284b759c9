"""Layers that are told what they make of a Keras tensor are built as those that Keras calls to find it out."""

import pytest
import tensorflow as tf

from qat.quantization import quantize_model
from qat.quantization.keras.model import clone_qat_model
from qat.quantization.keras.range_layer import RangeLayer
from tests.quantization.zoo import CASES
from tests.quantization.zoo.drawing import draw, make


def made_of(model):
    nodes = [(layer.name, node) for layer in model.layers for node in layer.inbound_nodes]
    return [(name, tuple(each.shape), each.dtype) for name, node in nodes for each in tf.nest.flatten(node.outputs)]


@pytest.mark.medium
@pytest.mark.parametrize("name", ["self_attention", "conv2d_transpose_norm", "batch_norm_first"])
def test_told_shapes_are_those_that_keras_finds_by_calling_each_layer(name):
    model = make(name, CASES[name])
    quantized = quantize_model(model, draw(model, 8, seed=1))
    assert made_of(quantized) == made_of(clone_qat_model(quantized))


def test_variables_have_the_names_that_keras_gives_them():
    model = make("batch_norm_first", CASES["batch_norm_first"])
    layers = quantize_model(model, draw(model, 8, seed=1)).layers
    named = {layer.name: [v.name for v in layer.variables] for layer in layers if isinstance(layer, RangeLayer)}
    assert named
    for name, variables in named.items():
        assert {f"{name}/min:0", f"{name}/max:0"} < set(variables)
