"""Layers that are told what they make of a Keras tensor are built as those that Keras calls to find it out."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.keras.model import clone_qat_model
from qat.quantization.keras.range_layer import RangeLayer
from tests.quantization.zoo import CASES
from tests.quantization.zoo.drawing import draw, make


def draw_rows(shape):
    return np.random.default_rng(0).normal(size=(128, *shape)).astype(np.float32)


def made_of(model):
    nodes = [(layer.name, node) for layer in model.layers for node in layer.inbound_nodes]
    return [(name, tuple(each.shape), each.dtype) for name, node in nodes for each in tf.nest.flatten(node.outputs)]


@pytest.mark.medium
@pytest.mark.parametrize("name", ["self_attention", "conv2d_transpose_norm", "batch_norm_first"])
def test_told_shapes_are_those_that_keras_finds_by_calling_each_layer(name):
    model = make(name, CASES[name])
    quantized = quantize_model(model, draw(model, 8, seed=1))
    assert made_of(quantized) == made_of(clone_qat_model(quantized))


def test_of_equal_layers_one_is_run_to_see_shapes_and_others_have_their_own(monkeypatch):
    entry = tf_keras.Input((6, 4))
    x = layers.GRU(5, return_sequences=True)(entry)
    quantized = quantize_model(tf_keras.Model(entry, [x, layers.Dense(2)(x)]), draw_rows((6, 4)))
    seen, infer = [], tf_keras.layers.Layer._infer_output_signature

    def counted(self, *arguments):
        seen.append(self.name)
        return infer(self, *arguments)

    monkeypatch.setattr(tf_keras.layers.Layer, "_infer_output_signature", counted)
    cloned = clone_qat_model(quantized)
    assert len(seen) < len(made_of(quantized)) / 3
    assert made_of(quantized) == made_of(cloned)


def test_variables_have_the_names_that_keras_gives_them():
    model = make("batch_norm_first", CASES["batch_norm_first"])
    made = quantize_model(model, draw(model, 8, seed=1)).layers
    named = {layer.name: [v.name for v in layer.variables] for layer in made if isinstance(layer, RangeLayer)}
    assert named
    for name, variables in named.items():
        assert {f"{name}/min:0", f"{name}/max:0"} < set(variables)
