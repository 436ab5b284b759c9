"""With rounding on, gradients go where the float model's go: beyond a clamp none, at a trained bound to the bound."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.keras.observing import cuts_nothing_off, own_end

ROWS = np.random.default_rng(0).normal(size=(64, 6, 6, 3)).astype(np.float32)
TARGETS = np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32)


class With(layers.Layer):
    """A function of its input and of one variable."""

    def __init__(self, function, start, shape=None):
        super().__init__(name="with")
        self.function, self.start, self.shape = function, start, shape

    def build(self, shape):
        shape = (1, 1, 1, shape[-1]) if self.shape is None else self.shape
        self.bound = self.add_weight("bound", shape, initializer=tf_keras.initializers.Constant(self.start))

    def call(self, x):
        return self.function(x, self.bound)


@tf.custom_gradient
def root_with_gradient_at_0(x):
    root = tf.sqrt(x)
    return root, lambda upstream: upstream / (2.0 * (root + 1e-6))


def length(x, b):
    return 2.0 * root_with_gradient_at_0(tf.nn.avg_pool2d(tf.square(x + b), 2, 2, "VALID"))


@tf.custom_gradient
def spike(x):
    return tf.cast(x > 0, x.dtype), lambda upstream: upstream / (1.0 + 3.0 * tf.abs(x)) ** 2


FUNCTIONS = {
    "spike_with_a_peak_at_0": (lambda x, b: spike(x + b), 0.0),
    "root_of_the_users_own": (length, 0.0),
    "clip": (lambda x, b: tf.clip_by_value(x, -0.3, 0.3) + b, 0.0),
    "clip_behind": (lambda x, b: tf.clip_by_value(x * (1 + b), -0.3, 0.3), 0.1),
    "relu_with_maximum": (lambda x, b: layers.ReLU(max_value=0.3)(x + b), 0.0),
    "hard_sigmoid": (lambda x, b: tf_keras.activations.hard_sigmoid(5 * x) + b, 0.0),
    "maximum": (tf.maximum, 0.0),
    "maximum_the_other_way": (lambda x, b: tf.maximum(b, x), 0.0),
    "minimum": (lambda x, b: tf.minimum(tf.nn.relu(x), b), 0.5),
    "clip_by_variable": (lambda x, b: tf.clip_by_value(x, 0.0, b), 0.5),
    "clip_both_ways": (lambda x, b: tf.clip_by_value(x, -b, b), 0.4),
    "between_two": (lambda x, b: tf.minimum(tf.maximum(x, -b), b) * 2.0, 0.4),
    "chosen": (lambda x, b: tf.where(x < b, tf.nn.relu(x), b), 0.5),
    "absolute": (lambda x, b: 0.5 * (tf.abs(x) - tf.abs(x - b) + b), 0.5),
}


def gradients(model, training):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(ROWS, training=training) - TARGETS) ** 2)
    found = tape.gradient(loss, model.trainable_variables)
    return {v.name: np.ravel(g) for v, g in zip(model.trainable_variables, found, strict=True)}


@pytest.mark.parametrize("shape", [None, ()], ids=["of_each_channel", "of_all"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_they_are_those_of_the_float_model_but_for_rounding(name, shape):
    tf_keras.utils.set_random_seed(0)
    function, start = FUNCTIONS[name]
    x = layers.Conv2D(4, 3)(entry := tf_keras.Input((6, 6, 3)))
    x = With(function, start, shape)(x)
    model = tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(x)))
    quantized = quantize_model(model, ROWS)
    for training in (True, False):
        expected, found = gradients(model, training), gradients(quantized, training)
        for (variable, one), other in zip(expected.items(), found.values(), strict=True):
            size = np.linalg.norm(one)
            assert size > 1e-3
            assert np.linalg.norm(one - other) < 0.3 * size, (variable, training)


TIES = {
    "relu": (lambda x, b: tf.maximum(tf.nn.relu(x), b), 0.0),
    "relu6": (lambda x, b: tf.minimum(tf.nn.relu6(9 * x), b), 6.0),
    "clip": (lambda x, b: tf.maximum(tf.clip_by_value(x, -0.3, 0.3), b), -0.3),
    "pooled": (lambda x, b: tf.maximum(tf.nn.max_pool2d(tf.nn.relu(x - 0.5), 2, 1, "VALID"), b), 0.0),
    "relu_below_the_bound": (lambda x, b: tf.maximum(tf.nn.relu(x), b), 0.2),
}


@pytest.mark.parametrize("name", TIES)
def test_equal_operands_of_the_float_model_share_their_gradient_as_there(name):
    tf_keras.utils.set_random_seed(0)
    function, start = TIES[name]
    x = With(function, start)(layers.Conv2D(4, 3)(entry := tf_keras.Input((6, 6, 3))))
    model = tf_keras.Model(entry, layers.Dense(2)(layers.Flatten()(x)))
    quantized = quantize_model(model, ROWS)
    for each in (quantized, tf_keras.models.model_from_json(quantized.to_json())):
        each.set_weights(quantized.get_weights())
        for training in (True, False):
            expected, found = gradients(model, training), gradients(each, training)
            largest = max(map(np.linalg.norm, expected.values()))
            for (variable, one), other in zip(expected.items(), found.values(), strict=True):
                assert np.linalg.norm(one - other) < max(0.3 * np.linalg.norm(one), 0.03 * largest), (
                    variable,
                    training,
                )


def test_own_ends_are_those_of_what_comes_before():
    node, _ = chain("reshape", "maximum")
    assert own_end(node) is None
    for before, op, end in (("relu", "maximum", 0.0), ("relu", "minimum", None), ("relu6", "minimum", 6.0)):
        first = Node(before, before, [])
        first.outputs = [Tensor(first, 0, (None, 4), "float32")]
        assert own_end(Node(op, op, first.outputs)) == end


def chain(*ops):
    """Nodes one behind the other, and who reads what."""
    nodes = [Node("fake_quant", "first", [Tensor(Node("input", "entry", []), 0, (None, 4), "float32")])]
    consumers = {}
    for op in ops:
        nodes[-1].outputs = [Tensor(nodes[-1], 0, (None, 4), "float32")]
        nodes.append(Node(op, op, nodes[-1].outputs))
        consumers[nodes[-2].outputs[0]] = [nodes[-1]]
    return nodes[0], consumers


@pytest.mark.parametrize(
    ("ops", "nothing"),
    [
        (["maximum"], True),
        (["reshape", "transpose", "minimum"], True),
        (["avg_pool"], False),
        (["reshape", "conv2d"], False),
        ([], False),
    ],
)
def test_nothing_is_cut_off_before_what_lets_its_result_alone_through(ops, nothing):
    assert cuts_nothing_off(*chain(*ops)) is nothing
