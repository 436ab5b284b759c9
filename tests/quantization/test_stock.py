"""Stock tfmot behind one function: what it makes is untouched, what it refuses is said in one line."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tf_keras import layers

from qat.errors import ModelError
from qat.quantization.stock import quantize_by_tfmot


def test_the_model_is_the_one_that_tfmot_makes(tiny, images):
    found, stock = quantize_by_tfmot(tiny), tfmot.quantization.keras.quantize_model(tiny)
    assert [type(layer) for layer in found.layers] == [type(layer) for layer in stock.layers]
    np.testing.assert_array_equal(found(images[:8]), stock(images[:8]))
    ends = {float(v.numpy()) for v in found.variables if v.name.endswith("post_activation_max:0")}
    assert ends == {6.0}  # not calibrated


@pytest.mark.medium
def test_the_float_model_stays_as_it_was(network, images):
    before, weights, config = network(images[:8]).numpy(), network.get_weights(), network.get_config()
    stock = quantize_by_tfmot(network)
    stock.compile("sgd", "mse")
    stock.fit(images[:16], np.zeros((16, 5), np.float32), verbose=0)
    assert network.get_config() == config
    np.testing.assert_array_equal(network(images[:8]), before)
    for was, now in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


class Scaled(layers.Layer):
    def call(self, inputs):
        return inputs * 0.5


class Subclassed(tf_keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def subclassed():
    model = Subclassed()
    model(tf.zeros((1, 6)))
    return model


def with_layer(layer):
    inputs = tf_keras.Input((6,))
    return tf_keras.Model(inputs, layers.Dense(3)(layer(inputs)), name="theirs")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: with_layer(layers.Rescaling(1 / 255, name="scaling")), "Layer scaling:.* is not supported"),
        (lambda: with_layer(layers.LayerNormalization(name="norm")), "Layer norm:.* is not supported"),
        (lambda: with_layer(tf_keras.Sequential([layers.Dense(6)])), "a keras Model inside another keras Model"),
        (lambda: with_layer(Scaled()), "Unable to clone model"),
        (lambda: with_layer(lambda x: tf.sin(x)), "Layer tf.math.sin:.* is not supported"),
        (lambda: with_layer(layers.Dense(4, activation="hard_sigmoid")), "Only some Keras activations"),
        (subclassed, "can only either be a keras Sequential or Functional model"),
    ],
)
def test_a_refusal_names_the_model_and_gives_tfmots_reason_in_one_line(make, reason):
    with pytest.raises(ModelError, match=rf"quantize_model refuses model '\w+': .*{reason}") as refused:
        quantize_by_tfmot(make())
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 700
