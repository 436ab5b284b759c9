"""Loops, conditions and calls in programs: the same values and gradients as in the graph that they were cut from."""

import json
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization.importing.import_state import Variables
from qat.quantization.importing.ops.custom_gradient import stated_gradient
from qat.quantization.ir.control_flow import assigned_by
from qat.quantization.ir.cutter import Cutter
from qat.quantization.ir.program import NotExtractableError, Program

ROWS = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)


def loop(x, weight):
    return tf.while_loop(lambda at, h: at < 4, lambda at, h: (at + 1, tf.tanh(h * weight + x)), [0, x])[1]


def scan(x, weight):
    return tf.scan(lambda state, row: tf.tanh(state * weight + row), tf.transpose(x, (1, 0, 2)))


def condition(x, weight):
    return tf.cond(tf.reduce_mean(x) > 0, lambda: x * weight, lambda: tf.square(x * weight))


def cases(x, weight):
    return tf.switch_case(tf.shape(x)[0] % 3, [lambda: x * weight, lambda: x + weight, lambda: tf.exp(x) - weight])


def called(x, weight):
    return tf.function(lambda h: tf.square(h * weight))(x)


def connectionist(x, weight):
    """CTC: loops over labels, a stated gradient, ops that are called as the functions that they run."""
    logits = tf.transpose(x * weight, (1, 0, 2))
    rows = tf.shape(x)[0]
    return tf.nn.ctc_loss(tf.ones((rows, 2), tf.int32), logits, tf.fill([rows], 2), tf.fill([rows], 4))


def other_gradient(x, weight):
    @tf.custom_gradient
    def turned(h):
        return tf.identity(h), lambda upstream: -2 * upstream

    return tf.while_loop(lambda at, h: at < 2, lambda at, h: (at + 1, turned(h) * weight), [0, x])[1]


def cut(function, variable):
    concrete = tf.function(lambda x: function(x, variable)).get_concrete_function(tf.TensorSpec([None, 4, 3]))
    handles = [inner for outer, inner in concrete.graph.captures if outer is variable.handle]
    place = {handle.ref(): 0 for handle in handles}
    known = Variables(tf_keras.Sequential([tf_keras.Input((1,))]), concrete.graph)
    gradient_of = partial(stated_gradient, variables=known)
    cutter = Cutter(lambda handle: place.get(handle.ref()), lambda tensor: None, gradient_of=gradient_of)
    return cutter.cut(concrete.graph.outputs, concrete.graph.inputs[:1])


@pytest.mark.medium
@pytest.mark.parametrize(
    "function", [loop, scan, condition, cases, called, connectionist, other_gradient], ids=lambda each: each.__name__
)
def test_values_and_gradients_are_those_of_the_graph(function):
    variable = tf.Variable([0.5, -0.4, 0.8])
    said = json.loads(json.dumps(cut(function, variable).to_json()))
    program = Program.from_json(said)
    assert program.variable_indices() == {0}
    x = tf.constant(ROWS)
    for run in (program.run, tf.function(program.run)):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            expected, (found,) = function(x, variable), run([x], [variable])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        for target in (x, variable):
            np.testing.assert_allclose(
                tape.gradient(found, target), tape.gradient(expected, target), rtol=1e-4, atol=1e-5
            )


def test_a_scan_trains_under_xla():
    """The gradient of a loop needs the number of its steps there."""
    variable = tf.Variable([0.5, -0.4, 0.8])
    program = Program.from_json(cut(scan, variable).to_json())

    @tf.function(jit_compile=True)
    def gradient(x):
        with tf.GradientTape() as tape:
            (found,) = program.run([x], [variable])
        return tape.gradient(found, variable)

    with tf.GradientTape() as tape:
        expected = scan(tf.constant(ROWS), variable)
    np.testing.assert_allclose(gradient(ROWS), tape.gradient(expected, variable), rtol=1e-4)


def added_in_a_branch(x, weight):
    """What is assigned in one branch, before it and behind, is read in each place."""
    weight.assign_add([1.0, 1.0, 1.0])
    before = tf.reduce_sum(weight)

    def added():
        half = weight * 0.5
        weight.assign_add(half)
        return tf.reduce_sum(weight)

    inside = tf.cond(tf.reduce_max(x) > 0, added, lambda: before * 3)
    return x * weight + before + inside


def chosen_in_a_case(x, weight):
    made = tf.switch_case(
        tf.shape(x)[1] - 3, [lambda: weight * 2, lambda: weight.assign(weight * x[0, 0]) + 1, lambda: weight * 3]
    )
    weight.assign_sub(tf.ones_like(weight))
    return made + weight * x


def branches_in_branches(x, weight):
    def inner():
        tf.cond(x[0, 0, 0] > 100, lambda: weight.assign(weight * 7), lambda: weight.assign_add(weight * 0.5))
        return weight * 2

    made = tf.cond(x[0, 0, 1] < 100, inner, lambda: tf.identity(weight))
    return made * x + weight


@pytest.mark.parametrize("function", [added_in_a_branch, chosen_in_a_case, branches_in_branches])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_is_read_of_variables_that_branches_assign_is_the_graphs_and_they_stay(function, sign):
    variable = tf.Variable([0.5, -0.4, 0.8], trainable=False)
    graph = tf.function(lambda x: function(x, variable)).get_concrete_function(tf.TensorSpec([None, 4, 3])).graph
    handle = next(inner for outer, inner in graph.captures if outer is variable.handle)
    index_of = {handle.ref(): 0}.get
    last, behind = {}, {}
    for op in graph.get_operations():
        if last and any(each is handle for each in op.inputs):
            behind[op.name] = dict(last)
        if assigned_by(op):
            last[0] = op
    cutter = Cutter(lambda each: index_of(each.ref()), lambda tensor: None, behind)
    program = Program.from_json(json.loads(json.dumps(cutter.cut(graph.outputs, graph.inputs[:1]).to_json())))
    effects = [op for op in graph.get_operations() if assigned_by(op)]
    assigning = Program.from_json(json.loads(json.dumps(cutter.cut([], graph.inputs[:1], effects).to_json())))
    x, before = tf.constant(sign * ROWS), variable.numpy()
    for run in (program.run, tf.function(program.run)):
        (found,) = run([x], [variable])
        np.testing.assert_array_equal(variable, before)
    expected = function(x, variable)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    after = variable.numpy()
    for run in (assigning.run, tf.function(assigning.run)):
        variable.assign(before)
        run([x], [variable])
        np.testing.assert_allclose(variable, after, rtol=1e-6)


def test_a_loop_that_assigns_what_is_read_behind_it_is_no_program():
    variable = tf.Variable([0.5, -0.4, 0.8])

    def assigning(x, weight):
        return tf.while_loop(lambda at, h: at < 2, lambda at, h: (at + 1, h + weight.assign_add(weight)), [0, x])[1]

    with pytest.raises(NotExtractableError, match="a variable that it assigns inside of a loop"):
        cut(assigning, variable)
