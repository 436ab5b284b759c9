"""Layers of the float model by name, also those that hold others: frozen, read and set in the quantized model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model
from qat.quantization.keras.float_layers import FloatLayer

ROWS = np.random.default_rng(0).normal(size=(128, 6, 5)).astype(np.float32)
BOTH = pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])


def holders(of):
    """Layers that hold others; the last one gives the output, which takes its name."""
    layers = of.layers
    entry = of.Input((6, 5))
    x = layers.GRU(4, return_sequences=True, name="gru")(entry)
    x = layers.MultiHeadAttention(2, 3, name="mha")(x, x)
    inner = of.Input((6, 4))
    backbone = of.Model(
        inner, layers.BatchNormalization(name="norm")(layers.Dense(4, name="fc")(inner)), name="backbone"
    )
    x = layers.TimeDistributed(layers.Dense(3), name="td")(backbone(x))
    return of.Model(entry, layers.Bidirectional(layers.LSTM(4, name="lstm"), name="bi")(x), name="net")


def scrambled(model, seed=1):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.5, 1.0, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def assert_all_equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@BOTH
def test_a_layer_that_holds_others_is_read_and_set_whole(of):
    model, other = holders(of), scrambled(holders(of))
    quantized = quantize_model(model, ROWS)
    for layer in (each for each in model.layers if each.weights):
        held = quantized.get_layer(layer.name)
        assert held.name == layer.name
        assert held.count_params() == layer.count_params()
        assert_all_equal(held.get_weights(), layer.get_weights())
        held.set_weights(other.get_layer(layer.name).get_weights())
    assert_all_equal(quantized.to_float().get_weights(), other.get_weights())


@BOTH
def test_it_is_frozen_and_trained_again_also_in_a_saved_model(of, tmp_path):
    model = holders(of)
    quantized = quantize_model(model, ROWS)
    quantized.save(tmp_path / "model.keras")
    for each in (quantized, of.models.load_model(tmp_path / "model.keras")):
        for name in ("gru", "mha", "backbone", "td", "bi"):
            held, layer = each.get_layer(name), model.get_layer(name)
            for trained in (False, True):
                held.trainable = layer.trainable = trained
                assert held.trainable is trained
                assert len(each.trainable_variables) == len(model.trainable_variables)
                assert len(held.trainable_weights) == len(layer.trainable_weights)
                assert len(held.non_trainable_weights) == len(layer.non_trainable_weights)


@BOTH
def test_layers_inside_are_found_by_both_ways(of):
    quantized = quantize_model(holders(of), ROWS)
    inner = quantized.get_layer("backbone.fc")
    assert quantized.get_layer("backbone").get_layer("fc") is inner
    assert quantized.get_layer("fc") is inner  # no other has the name
    inner.trainable = False
    assert quantized.get_layer("backbone").trainable is True
    assert quantized.get_layer("gru").recurrent_kernel.shape == (4, 12)  # one alone has the name


@BOTH
def test_messages_list_the_names_that_work(of):
    quantized = quantize_model(holders(of), ROWS)
    with pytest.raises(ValueError, match=r"No such layer: 'rnn' in model 'net'.*'gru', 'gru.gru_cell'.*'backbone.fc'"):
        quantized.get_layer("rnn")
    with pytest.raises(ValueError, match=r"take one: 'bi.forward_lstm.lstm_cell', 'bi.backward_lstm.lstm_cell'"):
        quantized.get_layer("lstm_cell")
    with pytest.raises(AttributeError, match=r"'bi' .* has no 'forward_layer'.*below 'bi'.*'bi.forward_lstm'"):
        _ = quantized.get_layer("bi").forward_layer
    with pytest.raises(ValueError, match=r"layer 'gru' has weights of shapes \[\(5, 12\).*was given \[\(1,\)\]"):
        quantized.get_layer("gru").set_weights([np.zeros(1)])


def block(of):
    """A layer with a variable of its own, which holds others with statistics."""

    class Block(of.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.one, self.two = (of.layers.Dense(5), of.layers.Dense(5))
            self.norm, self.second = (of.layers.BatchNormalization(), of.layers.BatchNormalization())

        def build(self, shape):
            self.gain = self.add_weight(name="gain", shape=(5,), initializer="ones")
            super().build(shape)

        def call(self, x):
            return self.second(self.two(self.norm(self.one(x)))) * self.gain

    entry = of.Input((6, 5))
    return of.Model(entry, of.layers.Dense(2, name="head")(Block(name="block")(entry)))


@BOTH
@pytest.mark.parametrize("trained", [True, False])
def test_the_order_is_the_float_layers_frozen_or_not(of, trained):
    model = block(of)
    model(ROWS)
    scrambled(model)
    quantized = quantize_model(model, ROWS)
    held, layer = quantized.get_layer("block"), model.get_layer("block")
    held.trainable = layer.trainable = trained
    assert_all_equal(held.get_weights(), layer.get_weights())
    assert held.gain.shape == (5,)
    assert len(quantized.trainable_variables) == (11 if trained else 2)


def tied(of):
    """A head with the kernel of an embedding, and a bias of its own."""

    class Head(of.layers.Layer):
        def __init__(self, table, **options):
            super().__init__(**options)
            self.table = table

        def build(self, shape):
            self.bias = self.add_weight(name="bias", shape=(7,), initializer="zeros")
            super().build(shape)

        def call(self, x):
            return tf.matmul(x, tf.convert_to_tensor(self.table.embeddings), transpose_b=True) + self.bias

    table = of.layers.Embedding(7, 4, name="table")
    entry = of.Input((6,), dtype="int32")
    return of.Model(entry, Head(table, name="head")(of.layers.Dense(4, name="fc")(table(entry))))


def test_a_layer_that_holds_another_ones_table_has_it_among_its_own():
    ids = np.random.default_rng(0).integers(0, 7, (128, 6)).astype(np.int32)
    model = tied(tf_keras)
    quantized = quantize_model(model, ids)
    held = quantized.get_layer("head")
    assert isinstance(held, FloatLayer)
    assert_all_equal(held.get_weights(), model.get_layer("head").get_weights())
    held.set_weights([np.ones((7,)), np.full((7, 4), 2.0)])
    np.testing.assert_array_equal(quantized.get_layer("table").get_weights()[0], np.full((7, 4), 2.0))


@BOTH
def test_a_name_twice_is_first_of_all_the_outermost_layers(of):
    entry, inner = of.Input((5,)), of.Input((3,))
    part = of.Model(inner, of.layers.Dense(4, name="fc")(inner), name="part")
    model = of.Model(entry, of.layers.Dense(2, name="out")(part(of.layers.Dense(3, name="fc")(entry))))
    quantized = quantize_model(model, ROWS[:, 0])
    assert quantized.get_layer("fc").kernel.shape == (5, 3)
    assert quantized.get_layer("part").kernel.shape == (3, 4)


def test_what_is_set_on_a_layer_that_holds_others_is_said():
    entry = tf_keras.Input(ROWS.shape[1:])
    memory = tf_keras.layers.Bidirectional(tf_keras.layers.LSTM(4), name="memory")(entry)
    quantized = quantize_model(tf_keras.Model(entry, tf_keras.layers.Dense(2)(memory)), ROWS)
    held = quantized.get_layer("memory")
    assert isinstance(held, FloatLayer)
    with pytest.warns(TrainingSemanticsWarning, match="'memory' of a quantized model: activation was set, and nothing"):
        held.activation = tf_keras.activations.relu
