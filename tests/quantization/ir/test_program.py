"""Part of a traced graph as data: cut out, written as JSON, run on other tensors; and an LSTM step by step."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tf_keras import layers

from qat.errors import ModelError
from qat.quantization.ir import raw_ops
from qat.quantization.ir.cutter import Cutter
from qat.quantization.ir.lstm_steps import make_float_step, run_time_steps
from qat.quantization.ir.program import NotExtractableError, Program


def test_a_program_computes_what_the_graph_did_and_assigns_its_variables():
    variable = tf.Variable(3.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def function(x):
        variable.assign_add(1.0)
        return tf.reduce_sum(x * variable) + 2.0

    graph = function.get_concrete_function().graph
    places = {internal.ref(): 0 for _, internal in graph.captures}
    cutter = Cutter(lambda tensor: places.get(tensor.ref()), lambda tensor: None)
    inputs = [graph.inputs[0]]
    effects = [op for op in graph.get_operations() if op.type == "AssignAddVariableOp"]
    program = cutter.cut([graph.outputs[0].op.inputs[0]], inputs, effects)
    program = Program.from_json(json.loads(json.dumps(program.to_json())))
    other = tf.Variable(10.0)
    (total,) = program.run([tf.constant([1.0, 2.0])], [other])
    assert (float(other), float(total)) == (11.0, 35.0)
    assert program.variable_indices() == {0}


def test_texts_are_no_part_of_a_program():
    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def function(x):
        return tf.strings.join([tf.strings.as_string(x), "a"])

    graph = function.get_concrete_function().graph
    cutter = Cutter(lambda tensor: None, lambda tensor: None)
    with pytest.raises(NotExtractableError):
        cutter.cut([graph.outputs[0]], [])


def test_an_op_is_plain_data_that_runs_again():
    @tf.function(input_signature=[tf.TensorSpec([1, 4], tf.float32)])
    def function(x):
        return tf.cast(tf.split(x, 2, axis=1)[1], tf.int32)

    by_type = {op.type: op for op in function.get_concrete_function().graph.get_operations()}
    cast, split = (json.loads(json.dumps(raw_ops.describe_op(by_type[name]))) for name in ("Cast", "Split"))
    (found,) = raw_ops.run("raw:Cast", [tf.constant([1.7])], cast)
    assert found.numpy().tolist() == [1]
    halves = raw_ops.run("raw:Split", [tf.constant(0), tf.constant([1.0, 2.0])], split)
    assert [half.numpy().tolist() for half in halves] == [[1.0], [2.0]]
    assert raw_ops.can_run(by_type["Cast"])


@pytest.mark.parametrize("unrolled", [True, False])
def test_the_steps_of_an_lstm_are_those_of_keras(unrolled):
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    layer = layers.LSTM(4, return_sequences=True)
    expected = layer(x)
    kernel, recurrent, bias = layer.cell.weights
    outputs, cells = run_time_steps(x @ kernel + bias, 4, make_float_step(recurrent), unrolled=unrolled)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    assert cells.shape == (2, 5, 4)


@pytest.mark.parametrize("kind", ["WriteFile", "UnicodeEncode", "Identity"])
def test_an_op_is_run_by_the_word_that_files_are_looked_through_for(kind):
    step = [kind, [["in", 0]], {"operands": [["input", None]], "attrs": {}}]
    program = Program.from_json({"steps": [step], "results": [["step", 0, 0]], "dtypes": ["float32"]})
    with pytest.raises(ModelError, match=f"'{kind}' is no op that a quantized model runs"):
        program.run([tf.zeros(3)], [])
