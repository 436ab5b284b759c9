"""Which tensors of a graph share a range, which have one of their own, which one is prescribed."""

import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization.importing.modes import read
from qat.quantization.placement.moved import needs_range_for_padding
from qat.quantization.placement.op_scales import (
    FIXED_RANGE,
    ONE_RANGE_FOR_ALL,
    ONLY_RESULT,
    ROUNDS_AT_SAME_SCALE,
    SAME_SCALE,
)
from qat.quantization.placement.own import place_own
from qat.quantization.placement.place import place
from qat.quantization.placement.state import Placement, can_share_range, requantize
from qat.quantization.placement.united import place_shared, share_between_time_steps
from qat.quantization.rewrites import canonicalize

ROW = (4, 4, 2)


def canonical(function, shape=ROW):
    x = tf_keras.Input(shape)
    return canonicalize(tf_keras.Model(x, function(x)))


def placed(function, shape=ROW):
    """The graph with its ranges, and the ranges."""
    graph = canonical(function, shape)
    return graph, place(graph)


def range_count(tensors):
    return len({id(tensor.node.attrs["quant_spec"].root()) for tensor in tensors})


def test_what_only_moves_codes_keeps_the_range_of_what_it_reads():
    _, ranges = placed(lambda x: tf.transpose(tf.reshape(x, (-1, 8, 4)), [0, 2, 1]))
    assert len(ranges) == 1


def test_arithmetic_has_a_range_of_its_own():
    _, ranges = placed(lambda x: x * x)
    assert len(ranges) == 2


def test_a_concatenation_has_one_range_for_all_its_operands():
    graph, ranges = placed(lambda x: tf.concat([x * 2.0 + 1.0, tf.abs(x)], -1))
    (joined,) = graph.nodes_of("concat")
    assert range_count(joined.inputs) == 1
    assert len(ranges) == 3  # of the input and of the product, too


@pytest.mark.parametrize(("function", "op"), [(tf.sigmoid, "sigmoid"), (tf.tanh, "tanh"), (tf.nn.softmax, "softmax")])
def test_the_kernel_prescribes_the_range_of_some_results(function, op):
    _, ranges = placed(lambda x: function(x))
    assert FIXED_RANGE[op] in [each.fixed for each in ranges]


def test_a_layer_in_float_is_dequantized_before_and_quantized_behind():
    x = tf_keras.Input(ROW)
    graph = canonicalize(
        tf_keras.Model(x, layers.Dense(3, name="end")(layers.ReLU()(layers.Dense(4, name="first")(x))))
    )
    place(graph, frozenset({"first"}))
    assert "dequantize" in [node.op for node in graph.nodes]


def test_kinds_of_kernels_do_not_overlap():
    assert not SAME_SCALE & (ROUNDS_AT_SAME_SCALE | ONE_RANGE_FOR_ALL)
    assert ONLY_RESULT < ONE_RANGE_FOR_ALL
    assert not set(FIXED_RANGE) & SAME_SCALE


def test_a_tensor_that_others_read_cannot_take_another_range_and_is_requantized():
    graph = canonical(lambda x: tf.concat([tf.abs(x), x], -1))
    state = Placement(graph)
    (entry,) = graph.nodes_of("input")
    (joined,), (size,) = graph.nodes_of("concat"), graph.nodes_of("abs")
    place_own(state, entry)
    assert not can_share_range(state, size.inputs[0], state.range_of[size.inputs[0]])
    before = size.inputs[0]
    requantize(state, before, size, state.range_of[before])
    assert (size.inputs[0] is before, joined.inputs[1] is before) == (False, True)
    place_own(state, size)
    place_shared(state, joined)
    share_between_time_steps(state)
    assert range_count(joined.inputs) == 1
    assert not needs_range_for_padding(state, joined)


def test_reading_leaves_the_model_as_it_is():
    x = tf_keras.Input(ROW)
    model = tf_keras.Model(x, layers.Dense(2)(x))
    before = model.get_config()
    place(read(model))
    assert model.get_config() == before
