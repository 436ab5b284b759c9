"""Gates joined to one product each: the same float function, fewer roundings."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.ir.interpret import run
from qat.quantization.rewrites import canonicalize
from qat.quantization.rewrites.recurrent import clamp_of_state, dropout_by_mask, join_gates
from qat.tflite import Interpreter, convert

from .acting import Case, check


def clipped_state():
    series = tf_keras.Input((3, 4))
    states = layers.LSTM(5, return_sequences=True)(series)
    return tf_keras.Model(series, layers.Dense(2)(tf.clip_by_value(states, -0.05, 0.1)))


def dropping_cell():
    series = tf_keras.Input((3, 4))
    return tf_keras.Model(series, layers.GRU(3, dropout=0.3, recurrent_dropout=0.2)(series))


CASES = [
    Case(dropout_by_mask, dropping_cell, there=("dropped", "dropout_mask")),
    Case(clamp_of_state, clipped_state, gone=("clamp",), there=("lstm", "minimum", "maximum")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_rewrite_acts_and_the_float_function_stays(case):
    check(case)


@pytest.mark.parametrize(
    ("cell", "options"),
    [(layers.LSTM, {"recurrent_activation": "hard_sigmoid"}), (layers.SimpleRNN, {})],  # the default LSTM is one op
)
def test_x_and_state_are_multiplied_together_and_the_function_stays(cell, options):
    tf_keras.utils.set_random_seed(0)
    inputs = layers.Input((3, 4))
    model = tf_keras.Model(inputs, cell(5, return_sequences=True, bias_initializer="uniform", **options)(inputs))
    series = np.random.default_rng(0).normal(size=(16, 3, 4)).astype(np.float32)
    graph = canonicalize(model)
    before = sum(1 for _ in graph.nodes_of("dense"))
    join_gates(graph, [[series]])
    gates = 4 if cell is layers.LSTM else 1
    assert before == 1 + 2 * 2  # the first step has no state
    assert sum(1 for _ in graph.nodes_of("dense")) == 3 * gates
    kernels = {node.weights["kernel"].key for node in graph.nodes_of("dense")}
    assert len(kernels) == gates  # all steps train the same weights
    found = run(graph, [tf.constant(series)])[0].numpy()
    np.testing.assert_allclose(found, model.predict(series, verbose=0), rtol=1e-4, atol=1e-5)


def _masked(make):
    ids = layers.Input((4,), dtype="int32")
    return tf_keras.Model(ids, make(layers.Embedding(9, 3, mask_zero=True)(ids)))


MASKED = {
    "zeroed, backwards": layers.GRU(2, return_sequences=True, go_backwards=True, zero_output_for_mask=True),
    "zeroed, backwards, unrolled": layers.GRU(
        2, return_sequences=True, go_backwards=True, zero_output_for_mask=True, unroll=True
    ),
    "held, backwards": layers.GRU(2, return_sequences=True, go_backwards=True),
    "both ways": layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
    "both ways, cells": layers.Bidirectional(
        layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)], return_sequences=True)
    ),
    "both ways, last": layers.Bidirectional(layers.GRU(2), merge_mode="sum"),
}


VARIANTS = ("zeroed, backwards, unrolled", "both ways, cells", "both ways, last")


@pytest.mark.medium
@pytest.mark.parametrize(
    "layer",
    [pytest.param(MASKED[name], marks=pytest.mark.slow if name in VARIANTS else ()) for name in MASKED],
    ids=MASKED,
)
def test_what_a_mask_hides_is_hidden_in_both_directions(layer):
    model = _masked(layer)
    ids = np.array([[3, 4, 0, 0], [0, 2, 3, 0], [0, 0, 5, 1], [6, 0, 7, 0]], np.int32)
    found = run(canonicalize(model), [tf.constant(ids)])[0].numpy()
    np.testing.assert_allclose(found, model(ids).numpy(), rtol=1e-4, atol=1e-6)
    assert np.abs(found).max() > 1e-3


def test_the_steps_of_a_masked_layer_share_their_ranges():
    model = _masked(layers.GRU(2, return_sequences=True))
    graph = canonicalize(model)
    states = [node for node in graph.nodes_of("select") if node.time_step_key]
    assert len(states) == 4
    assert len({node.time_step_key for node in states}) == 1


@pytest.mark.parametrize("cell", [layers.SimpleRNN, layers.LSTM])
def test_a_state_without_negative_codes_takes_none_from_the_input(cell):
    tf_keras.utils.set_random_seed(0)
    inputs = layers.Input((3, 4))
    states = cell(5, activation="relu", return_sequences=True)(inputs)
    model = tf_keras.Model(inputs, cell(4, activation="relu")(states))
    series = np.random.default_rng(0).normal(size=(128, 3, 4)).astype(np.float32)
    (entry,) = Interpreter(convert(quantize_model(model, series))).inputs
    assert entry.scales[0] * (-128 - entry.zero_points[0]) < 0.98 * series.min()
    assert entry.scales[0] * (127 - entry.zero_points[0]) > 0.98 * series.max()
