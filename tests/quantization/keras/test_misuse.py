"""What users do to a quantized model out of habit: frozen slices, clones, averages of all weights."""

import warnings

import numpy as np
import pytest
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
