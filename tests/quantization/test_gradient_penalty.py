"""A loss that reads a gradient, as WGAN-GP's does: its own gradients are those of the float model."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model


def differentiated(model, x, training):
    """Gradients of a loss of input gradients."""
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = model(x, training=training)
        slopes = tf.reshape(inner.gradient(y, x), [len(x), -1])
        loss = tf.reduce_mean(tf.square(tf.norm(slopes, axis=1) - 1.0)) + 0.1 * tf.reduce_mean(y)
    return outer.gradient(loss, model.trainable_variables, unconnected_gradients="zero")


def apart(wanted, found):
    """The largest difference as a share of a variable's largest entry, or of a thousandth of the model's."""
    least = 1e-3 * max(float(np.abs(each).max()) for each in wanted)
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), least)) for a, b in zip(wanted, found, strict=True))


NETWORKS = {
    "norm of features, by moments": ((6,), lambda x: layers.BatchNormalization()(layers.Dense(5)(x))),
    "norm of samples, by moments": ((6,), lambda x: layers.LayerNormalization(epsilon=1e-6)(layers.Dense(8)(x))),
    "fixed range": ((6,), lambda x: layers.Dense(4, activation="tanh")(layers.Dense(6, activation="tanh")(x))),
    "groups": ((6, 6, 4), layers.Conv2D(4, 3, groups=2)),
}


@pytest.mark.medium
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_a_gradient_is_that_of_the_float_model(name):
    shape, middle = NETWORKS[name]
    tf_keras.utils.set_random_seed(3)
    entry = tf_keras.Input(shape)
    float_model = tf_keras.Model(entry, layers.Dense(1)(layers.Flatten()(layers.Activation("tanh")(middle(entry)))))
    x = np.random.default_rng(0).normal(0, 1, (64, *shape)).astype(np.float32)
    model, batch = quantize_model(float_model, x), tf.constant(x[:16])
    model.fake_quantization(False)
    wanted, before = differentiated(float_model, batch, True), [v.numpy() for v in model.variables]
    assert apart(wanted, differentiated(model, batch, True)) < 1e-4
    for variable, value in zip(model.variables, before, strict=True):
        variable.assign(value)
    for training in (True, False):
        model.fake_quantization(False)
        wanted = differentiated(model, batch, training)
        model.fake_quantization(True)
        assert apart(wanted, differentiated(model, batch, training)) < 0.2, "rounding alone"
