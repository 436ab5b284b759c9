"""Numbers that are chosen or bounded: at a tie, as of padding, the gradient goes where the float model's goes."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
ROWS[::2] = 0.0  # padding: with biases of 0, all numbers are 0 there

TIES = {
    "max(x, 0)": lambda x: tf.maximum(x, 0.0),
    "max(0, x)": lambda x: tf.maximum(0.0, x),
    "x > 0": lambda x: tf.where(x > 0.0, x, 0.0),
    "x >= 0": lambda x: tf.where(x >= 0.0, x, 0.0),
    "x < 0": lambda x: tf.where(x < 0.0, 0.0, x),
    "x > y": lambda x: tf.where(x[:, :2] > x[:, 2:], x[:, :2], x[:, 2:]),
    "sigmoid": lambda x: tf.where(x >= 0.0, 1.0 / (1.0 + tf.exp(-x)), tf.exp(x) / (1.0 + tf.exp(x))),
    "log1p": lambda x: tf.where(x >= 0.0, tf.math.log1p(x), tf.minimum(x, 0.0)),
    "min(relu(x), 1)": layers.ReLU(max_value=1.0),
    "max(0, min(x, 1))": lambda x: tf.maximum(0.0, tf.minimum(x, 1.0)),
    "clip(x, 0, 6)": lambda x: tf.clip_by_value(x, 0.0, 6.0),
    "softplus": tf.nn.softplus,
    "SELU": tf.nn.selu,
    "exp(x) - 1": lambda x: tf.maximum(tf.exp(x) - 1.0, 0.0),
}


def gradients(model):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(ROWS, training=True))
    return tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("function", TIES.values(), ids=TIES)
def test_at_a_tie_the_gradient_is_the_float_models(function):
    entry = tf_keras.Input((6,))
    model = tf_keras.Model(entry, function(layers.Dense(4)(entry)))
    quantized = quantize_model(model, ROWS)
    quantized.fake_quantization(False)
    for found, expected in zip(gradients(quantized), gradients(model), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_side_that_is_infinite_at_the_bound_is_left_as_it_is():
    entry = tf_keras.Input((6,))
    hidden = layers.Dense(4, bias_initializer="ones")(entry)
    model = tf_keras.Model(entry, tf.where(hidden > 0.0, tf.exp(-1.0 / hidden), 0.0))
    quantized = quantize_model(model, ROWS)
    quantized.fake_quantization(False)
    np.testing.assert_allclose(quantized(ROWS), model(ROWS), rtol=1e-5, atol=1e-6)
