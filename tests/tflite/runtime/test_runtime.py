"""Files whose batch is not what it seems: each gives one row per sample all the same, alone as in a child process."""

import numpy as np
import pytest
import tensorflow as tf

from qat.tflite import Interpreter, read

from .. import planting

WEIGHTS = tf.constant(np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32))
TABLE = tf.constant(np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32))


def from_function(function, *specs):
    traced = tf.function(function, input_signature=specs).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()


def loop(x):
    """A recurrent layer whose state was made for one sample."""

    def step(i, state):
        return i + 1, tf.tanh(tf.matmul(state, WEIGHTS) + tf.reshape(x[:, i], (1, 3)))

    return tf.while_loop(lambda i, _: i < 4, step, (0, tf.zeros((1, 3))))[1]


def random(*shape):
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def open_loop():
    return planting.with_open_outputs(from_function(loop, tf.TensorSpec((None, 4, 3))))


@pytest.mark.parametrize("trusted", [True, False], ids=["here", "child"])
def test_a_loop_that_holds_one_sample_runs_them_one_by_one(open_loop, trusted):
    graph = read(open_loop)
    assert graph.inputs[0].shape_signature[0] == graph.outputs[0].shape_signature[0] == -1
    interpreter, samples = Interpreter(open_loop, trusted=trusted), random(3, 4, 3)
    expected = np.concatenate([loop(tf.constant(samples[i : i + 1])) for i in range(3)])
    np.testing.assert_allclose(interpreter.predict(samples), expected, rtol=1e-5)
    assert interpreter.batch_size == 1


def test_an_op_that_holds_one_sample_runs_them_one_by_one():
    content = planting.with_open_outputs(
        from_function(lambda x: tf.matmul(tf.reshape(x, (1, 3)), WEIGHTS), tf.TensorSpec((None, 3)))
    )
    interpreter, samples = Interpreter(content, threads=1, trusted=True), random(40, 3)
    assert interpreter.batch_size > 1
    np.testing.assert_allclose(interpreter.predict(samples), samples @ WEIGHTS.numpy(), rtol=1e-5)
    assert interpreter.batch_size == 1


def test_sizes_beside_the_batch_may_be_open():
    content = from_function(lambda ids: tf.reduce_mean(tf.gather(TABLE, ids), 1), tf.TensorSpec((None, None), tf.int32))
    assert read(content).inputs[0].shape_signature == (-1, -1)
    ids = np.random.default_rng(0).integers(0, 9, (6, 7)).astype(np.int32)
    for length in (7, 4):
        expected = TABLE.numpy()[ids[:, :length]].mean(axis=1)
        np.testing.assert_allclose(Interpreter(content).predict(ids[:, :length]), expected, rtol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize(("shape", "count"), [((3,), 3), ((3,), 1), ((3, 1), 4), ((), 2)])
def test_an_output_without_an_axis_of_samples_gets_one(shape, count):
    def function(x):
        return tf.reshape(tf.matmul(x, WEIGHTS if shape else WEIGHTS[:, :1]), shape)

    content, samples = from_function(function, tf.TensorSpec((1, 3))), random(count, 3)
    outputs = Interpreter(content).predict(samples)
    assert outputs.shape == (count, *shape)
    expected = samples @ WEIGHTS.numpy()[:, : 3 if shape else 1]
    np.testing.assert_allclose(outputs, expected.reshape(outputs.shape), rtol=1e-5)
    assert Interpreter(content).predict(samples[:0]).shape == (0, *shape)


def test_a_size_that_only_the_samples_know_is_no_reason_to_refuse_a_file():
    seven = tf.constant(random(7, 5))
    content = from_function(lambda x: tf.matmul(tf.reshape(x, (-1, 7)), seven), tf.TensorSpec((None, None)))
    samples = random(6, 7)
    np.testing.assert_allclose(Interpreter(content).predict(samples), samples @ seven.numpy(), rtol=1e-4, atol=1e-5)
