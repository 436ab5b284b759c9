"""Long loops are refused by their layer's name before they are written out, short ones and the fused LSTM are not."""

import time
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import ConfigError, LongLoopError, ModelError
from qat.limits import Limits, current, use
from qat.quantization.importing.preflight import blockers
from qat.quantization.placement import QuantSpec, merge
from qat.quantization.rewrites import canonicalize
from qat.tflite import convert


class Clipped(layers.Layer):
    """A cell of one's own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight("kernel", (shape[-1], self.state_size))
        self.recurrent = self.add_weight("recurrent", (self.state_size, self.state_size))

    def call(self, x, states):
        y = tf.nn.relu6(x @ self.kernel + states[0] @ self.recurrent)
        return y, [y]


def series(steps, *chain, width=4):
    x = entry = tf_keras.Input((steps, *np.atleast_1d(width)), name="series")
    for layer in chain:
        x = layer(x)
    return tf_keras.Model(entry, x)


LONG = {  # the layer, its steps, what each step is
    "SimpleRNN": (lambda: layers.SimpleRNN(16, name="memory"), 1000, 5),
    "GRU": (lambda: layers.GRU(16, name="memory"), 500, 18),
    "LSTM": (lambda: layers.LSTM(16, recurrent_activation="hard_sigmoid", name="memory"), 900, 23),
    "written out": (lambda: layers.GRU(16, unroll=True, name="memory"), 170, 18),
    "RNN of a cell": (lambda: layers.RNN(Clipped(16), name="memory"), 1000, 4),
    "RNN of two cells": (lambda: layers.RNN([layers.LSTMCell(8), layers.GRUCell(8)], name="memory"), 300, 32),
    "with all that it can give": (
        lambda: layers.GRU(16, return_sequences=True, return_state=True, name="memory"),
        500,
        18,
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("kind", LONG)
def test_a_long_loop_is_refused_in_seconds_by_name_steps_and_ops(kind):
    build, steps, each = LONG[kind]
    model = series(steps, build())
    began = time.process_time()
    (line,) = set(blockers(canonicalize(model)))
    assert time.process_time() - began < 5
    assert f"over {steps:,} time steps is written out as about {steps * each:,} ops ({each} a step)" in line
    assert line.startswith("layer 'memory': op recurrence: ")
    assert f"limits.unrolled_ops=3000 is {3000 // each:,} steps" in line


def test_a_long_loop_over_images_is_refused():
    model = series(200, layers.ConvLSTM2D(4, 3, name="memory"), width=(6, 6, 2))
    (line,) = blockers(canonicalize(model))
    assert line.startswith("layer 'memory': op recurrence: ConvLSTM2D over 200 time steps ")


def test_all_loops_that_are_too_long_are_named_at_once_with_what_else_is_refused():
    wave = layers.Lambda(tf.sin, name="wave")
    both = layers.Bidirectional(layers.GRU(4, return_sequences=True), name="both")
    lines = blockers(canonicalize(series(300, both, wave, layers.SimpleRNN(4, name="last"))))
    forward, backward = (f"both/{each.name}" for each in (both.forward_layer, both.backward_layer))
    assert [line.split("'")[1] for line in lines] == [forward, backward, "wave", "last"]


def test_loops_share_what_may_be_written_out():
    model = series(6, layers.SimpleRNN(4, return_sequences=True), layers.SimpleRNN(4, name="second"))
    with use(Limits(unrolled_ops=60)):
        assert blockers(canonicalize(model)) == []
    with use(Limits(unrolled_ops=59)):
        (line,) = blockers(canonicalize(model))
    assert line.startswith("layer 'second': ")
    assert "is 5 steps, with 30 taken by loops before it" in line
    assert "limits.unrolled_ops=60," in line


def test_a_loop_inside_a_loop_counts_once():
    cell = tf_keras.Sequential([layers.SimpleRNN(3, name="inner")])

    class Outer(layers.Layer):
        state_size = 3

        def __init__(self):
            super().__init__()
            self.inner = cell

        def call(self, x, states):
            y = self.inner(x) + states[0]
            return y, [y]

    model = series(4, layers.RNN(Outer(), name="outer"), width=(5, 2))
    with use(Limits(unrolled_ops=5000)):
        graph = canonicalize(model)
    assert blockers(graph) == []
    inside = 5 * 5
    with use(Limits(unrolled_ops=4 * inside)):
        (line,) = blockers(canonicalize(model))
    assert line.startswith("layer 'outer': op recurrence: RNN over 4 time steps ")


@pytest.mark.parametrize("options", [{}, {"unroll": True}, {"return_sequences": True}])
def test_the_lstm_that_has_a_kernel_is_one_op_over_any_number_of_steps(options):
    steps = 50 if "unroll" in options else 1000  # Keras writes these out by itself to make the model
    with use(Limits(unrolled_ops=100)):
        graph = canonicalize(series(steps, layers.LSTM(16, **options)))
    assert blockers(graph) == []
    assert len(list(graph.nodes_of("lstm"))) == 1
    assert len(graph.nodes) < 10


def test_a_refused_layer_is_left_as_it_was():
    layer = layers.GRU(4)
    model = series(900, layer)
    canonicalize(model)
    assert layer.unroll is False


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_tensorflows_converter_writes_no_long_loop_out_either(scheme):
    model = series(12, layers.SimpleRNN(4, name="memory"))
    rows = np.random.default_rng(0).normal(size=(128, 12, 4)).astype(np.float32)
    with use(Limits(unrolled_ops=59)), pytest.raises(ModelError, match=r"memory.*over 12 time steps is written out"):
        convert(model, calibration=rows, scheme=scheme, engine="tflite")


def test_post_training_quantization_refuses_a_long_loop_by_name():
    model = series(1000, layers.SimpleRNN(4, name="memory"))
    rows = np.random.default_rng(0).normal(size=(128, 1000, 4)).astype(np.float32)
    with pytest.raises(LongLoopError, match="'memory': op recurrence: SimpleRNN over 1,000 time steps"):
        convert(model, calibration=rows)


def test_the_limit_is_a_setting():
    assert current().unrolled_ops == 3000
    with pytest.raises(ConfigError, match=r"limits\.unrolled_ops=0"):
        Limits(unrolled_ops=0)


def test_a_range_that_was_merged_a_thousand_times_is_found():
    """One range after another, as the steps of an unrolled layer are merged."""
    ranges = [QuantSpec(str(i), "") for i in range(3000)]
    for source, target in pairwise(ranges):
        merge(source, target)
    assert ranges[0].root() is ranges[-1]
