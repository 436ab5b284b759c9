"""Comparisons are multiplied by a power of two where the kernel's 256ths are too coarse, or its scale too large."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization.ir.interpret import run
from qat.quantization.rewrites import canonicalize
from qat.quantization.rewrites.comparisons import scale_comparisons


@pytest.mark.parametrize(("size", "factor"), [(0.01, 2048.0), (1.0, None), (10.0, None), (1000.0, 1 / 64)])
def test_the_factor_is_one_for_both_sides_and_the_function_stays(size, factor):
    first, second = tf_keras.Input((40,)), tf_keras.Input((40,))
    model = tf_keras.Model([first, second], tf.where(first > second, first, second * 0.5))
    rows = [np.random.default_rng(seed).uniform(-size, size, (16, 40)).astype(np.float32) for seed in range(2)]
    graph = canonicalize(model)
    before = run(graph, [tf.constant(values) for values in rows])[0].numpy()
    scale_comparisons(graph, [rows])
    (compared,) = graph.nodes_of("greater")
    factors = {float(tensor.node.inputs[1].node.value) for tensor in compared.inputs if tensor.node.op == "mul"}
    assert factors == ({factor} if factor else set())
    np.testing.assert_array_equal(run(graph, [tf.constant(values) for values in rows])[0].numpy(), before)


def test_a_choice_that_is_wider_than_what_it_chooses_from_stays():
    features = tf_keras.Input((40,))
    model = tf_keras.Model(features, tf.where(features[:, :1] > tf.fill([40], 0.1), 0.1, features[:, :1]))
    rows = np.random.default_rng(0).normal(size=(16, 40)).astype(np.float32)
    found = run(canonicalize(model), [tf.constant(rows)])[0].numpy()
    np.testing.assert_array_equal(found, model.predict(rows, verbose=0))


def test_a_limit_is_multiplied_once_for_all():
    pixels = tf_keras.Input((8,))
    model = tf_keras.Model(pixels, tf.cast(pixels >= 200.0, tf.float32))
    rows = np.random.default_rng(0).uniform(0, 255, (16, 8)).astype(np.float32)
    graph = canonicalize(model)
    scale_comparisons(graph, [[rows]])
    (compared,) = graph.nodes_of("greater_equal")
    assert [tensor.node.op for tensor in compared.inputs] == ["mul", "const"]
    assert float(compared.inputs[1].node.value) == 200.0 / 8
