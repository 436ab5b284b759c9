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


def norm_of(package):
    class Norm(package.layers.BatchNormalization):
        """As many code bases derive it, to change defaults."""

    return Norm()


def norm_of_its_own_call(package):
    class Norm(package.layers.BatchNormalization):
        def call(self, x, training=None, mask=None):
            return 2.0 * super().call(x, training=training)

    return Norm()


def frozen_norm(package):
    class Norm(package.layers.BatchNormalization):
        pass

    norm = Norm(name="norm")
    norm.trainable = False
    return norm


def nested_norm(package):
    class Block(package.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense, self.norm = package.layers.Dense(4), norm_of(package)

        def call(self, x, training=None):
            return self.norm(self.dense(x), training=training)

    return Block()


def dropout_of(package):
    class Drops(package.layers.Dropout):
        pass

    return Drops(0.3, seed=1)


def spectral_of(package):
    class Spectral(package.layers.SpectralNormalization):
        pass

    return Spectral(package.layers.Dense(3))


def counting(package):
    class Counts(package.layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(name="count", shape=(), dtype="int32", trainable=False, initializer="zeros")
            self.mean = self.add_weight(name="mean", shape=(), trainable=False, initializer="zeros")

        def call(self, x, training=None):
            if training:
                self.count.assign_add(1)
                tf.cond(tf.equal(self.count, 2), lambda: self.move(x), lambda: None)
            return x - self.mean

        def move(self, x):
            self.mean.assign(tf.reduce_mean(x))
            self.count.assign(0)

    return Counts()


MOVED = [norm_of, norm_of_its_own_call, nested_norm, dropout_of, spectral_of, counting]


@pytest.mark.parametrize("package", [tf_keras, keras])
@pytest.mark.parametrize("layer", MOVED)
def test_what_training_moves_in_the_float_model_beside_is_no_setting(package, layer):
    entry = package.Input((6,))
    model = package.Model(entry, package.layers.Dense(2)(layer(package)(package.layers.Dense(5)(entry))))
    quantized = quantize_model(model, X)
    targets = np.zeros((len(X), 2), np.float32)
    before = [np.array(variable) for variable in model.non_trainable_variables]
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        for each in (model, quantized):
            each.compile("sgd", "mse")
            each.fit(X, targets, batch_size=16, verbose=0)
    moved = [np.any(old != np.array(now)) for old, now in zip(before, model.non_trainable_variables, strict=True)]
    assert any(moved) or (layer is dropout_of and package is tf_keras)


@pytest.mark.parametrize("package", [tf_keras, keras])
def test_statistics_of_a_norm_that_is_thawed_in_the_float_model_are_no_setting(package):
    entry, norm = package.Input((6,)), frozen_norm(package)
    model = package.Model(entry, package.layers.Dense(2)(norm(package.layers.Dense(5)(entry))))
    quantized = quantize_model(model, X)
    targets = np.zeros((len(X), 2), np.float32)
    norm.trainable = True
    model.compile("sgd", "mse")
    model.fit(X, targets, verbose=0)
    quantized.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", TrainingSemanticsWarning)
        quantized.fit(X, targets, verbose=0)
    assert not [each for each in said if "moving_" in str(each.message)]


@pytest.mark.parametrize("package", [tf_keras, keras])
def test_a_setting_of_a_class_derived_from_one_of_keras_is_one(package):
    class Scaled(package.layers.BatchNormalization):
        def build(self, shape):
            super().build(shape)
            self.strength = self.add_weight(name="strength", shape=(), initializer="ones", trainable=False)

        def call(self, x, training=None, mask=None):
            return self.strength * super().call(x, training=training)

    norm, entry = Scaled(name="norm"), package.Input((6,))
    quantized = quantize_model(package.Model(entry, package.layers.Dense(2)(norm(entry))), X)
    quantized.compile("sgd", "mse")
    norm.strength.assign(0.5)
    with pytest.warns(TrainingSemanticsWarning, match=r"'strength' of layer 'norm' was set to 0.5 .* still 1\."):
        quantized.fit(X, np.zeros((len(X), 2), np.float32), verbose=0)


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
    said = r"trainable=True was set after quantize_model in 1 layer .*get_layer\('base.inner'\)\.trainable = True"
    with pytest.warns(TrainingSemanticsWarning, match=said):
        quantized.fit(X, targets, epochs=2, verbose=0)
    assert len(quantized.trainable_variables) == 2
    quantized.get_layer("base.inner").trainable = True
    quantized.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        quantized.fit(X, targets, epochs=2, verbose=0)
    assert len(quantized.trainable_variables) == 4
