"""Layers know on whose ranges each of their calls lies, and evaluation runs by one graph."""

import numpy as np
import pytest
import tf_keras

from qat.quantization import quantize_model
from qat.quantization.keras.bind_ranges import bind_ranges
from qat.quantization.keras.evaluation import EvaluatedInIntegers
from qat.quantization.keras.holder import CallRanges, RangedHolder
from qat.quantization.keras.range_layer import RangeLayer

ROWS = np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """One Dense layer called twice, and a softmax."""
    dense, entry = tf_keras.layers.Dense(4), tf_keras.Input((4,))
    made = quantize_model(tf_keras.Model(entry, tf_keras.layers.Softmax()(dense(dense(entry)))), ROWS)
    made.compile(loss="sparse_categorical_crossentropy")
    return made


def ranges_of(model):
    return {layer.name: layer for layer in model.layers if isinstance(layer, RangeLayer)}


def test_each_call_has_the_ranges_around_it(model):
    bind_ranges(model)
    (dense,) = [layer.layer for layer in model.layers if getattr(getattr(layer, "layer", None), "kind", "") == "dense"]
    first, second = dense.ranges_of_calls
    assert first.source.entry
    assert second.source is first.target
    assert second.target not in (None, first.target)
    assert first.rounding() == first


def test_only_the_range_of_probabilities_is_read_by_a_loss(model):
    bind_ranges(model)
    assert [layer.range for layer in ranges_of(model).values() if layer.of_probabilities] == [(0.0, 255 / 256)]


def test_a_range_that_is_switched_off_is_none(model):
    some = next(iter(ranges_of(model).values()))
    holder = RangedHolder(input_ranges=[some.name, "unknown"], output_ranges=[None, some.name], weights={})
    holder.bind(ranges_of(model), ranges_of(model))
    some.quantizer.enabled = False
    try:
        holder.begin_call(1)
        assert holder.ranges == CallRanges((None,), None)
        assert holder.ranges_of_calls == (CallRanges((some,), None), CallRanges((None,), some))
    finally:
        some.quantizer.enabled = True


def test_all_that_evaluates_runs_one_graph_until_a_switch(model):
    assert isinstance(model, EvaluatedInIntegers)
    labels = np.zeros(len(ROWS))
    first = model.evaluate(ROWS, labels, verbose=0)
    graph = model.graph
    assert graph is not None
    assert model.evaluate(ROWS, labels, verbose=0) == first
    assert model.graph is graph
    model.forget_traces()
    assert model.graph is None
