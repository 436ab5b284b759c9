"""What users do to a quantized model out of habit: frozen slices, clones, averages of all weights."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model

X = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


@pytest.fixture
def quantized():
    entry = tf_keras.Input((6,))
    hidden = layers.Dense(5, activation="relu", name="hidden")(entry)
    return quantize_model(tf_keras.Model(entry, layers.Dense(2, name="head")(hidden)), X)


def test_a_frozen_slice_of_layers_is_said_once_and_names_what_trains(quantized):
    for layer in quantized.layers[:-1]:
        layer.trainable = False
    with pytest.warns(TrainingSemanticsWarning, match=r"freezes nothing.*'head' train now.*get_layer\('head'"):
        assert len(quantized.trainable_variables) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ = quantized.trainable_variables


def test_all_layers_and_layers_by_name_are_frozen_without_a_word(quantized):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantized.get_layer("hidden").trainable = False
        assert len(quantized.trainable_variables) == 2
        for layer in quantized.layers:
            layer.trainable = False
        assert not quantized.trainable_variables


def test_a_clone_without_weights_is_said(quantized):
    clone = tf_keras.models.clone_model(quantized)
    with pytest.warns(TrainingSemanticsWarning, match=r"computes with zeros: clone_model .* clone.set_weights"):
        clone(X)
    clone = tf_keras.models.clone_model(quantized)
    clone.set_weights(quantized.get_weights())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(clone(X), quantized(X))


def test_all_weights_of_two_models_can_be_averaged(quantized):
    """As MoCo, Mean Teacher and diffusion models do."""
    other = tf_keras.models.clone_model(quantized)
    for mine, theirs in zip(quantized.weights, other.weights, strict=True):
        theirs.assign(0.9 * theirs + 0.1 * mine)


@pytest.mark.parametrize("package", [tf_keras, keras])
def test_a_setting_that_a_callback_moves_in_the_float_model_is_said_and_in_the_quantized_one_acts(package):
    class Scaled(package.layers.Layer):
        def build(self, shape):
            self.strength = self.add_weight(name="strength", shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.add_loss(self.strength * tf.reduce_mean(tf.square(x)))
            return x

    class Schedule(package.callbacks.Callback):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def on_epoch_begin(self, epoch, logs=None):
            self.layer.strength.assign(0.5 * epoch)

    theirs, entry = Scaled(name="scaled"), package.Input((6,))
    quantized = quantize_model(package.Model(entry, package.layers.Dense(2)(theirs(entry))), X)
    quantized.compile("sgd", "mse")
    targets = np.zeros((len(X), 2), np.float32)
    said = r"'strength' of layer 'scaled' was set to 0.5 .* still 0\. .*get_layer\('scaled'\)\.strength\.assign"
    with pytest.warns(TrainingSemanticsWarning, match=said):
        quantized.fit(X, targets, epochs=3, verbose=0, callbacks=[Schedule(theirs)])
    theirs.strength.assign(0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        quantized.fit(X, targets, epochs=3, verbose=0, callbacks=[Schedule(quantized.get_layer("scaled"))])
    assert float(tf.convert_to_tensor(quantized.get_layer("scaled").strength)) == 1.0


@pytest.mark.medium
@pytest.mark.parametrize("package", [tf_keras, keras])
def test_a_layer_that_is_trained_again_in_the_float_model_alone_is_said(package):
    entry = package.Input((6,))
    base = package.Sequential([package.Input((6,)), package.layers.Dense(5, name="inner")], name="base")
    base.trainable = False
    quantized = quantize_model(package.Model(entry, package.layers.Dense(2, name="head")(base(entry))), X)
    targets = np.zeros((len(X), 2), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        quantized.compile("sgd", "mse")
        quantized.fit(X, targets, verbose=0)
    base.trainable = True
    quantized.compile("sgd", "mse")
    said = r"trainable=True was set behind quantize_model in 1 layer .*get_layer\('base.inner'\)\.trainable = True"
    with pytest.warns(TrainingSemanticsWarning, match=said):
        quantized.fit(X, targets, epochs=2, verbose=0)
    assert len(quantized.trainable_variables) == 2
    quantized.get_layer("base.inner").trainable = True
    quantized.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        quantized.fit(X, targets, epochs=2, verbose=0)
    assert len(quantized.trainable_variables) == 4
