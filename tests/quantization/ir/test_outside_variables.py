"""Variables that a float model reads and does not list are read as they are, by the quantized model too."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model
from qat.quantization.ir import outside_variables

POINTS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


def weighted_loss(package, weight):
    """The term of a variational autoencoder, by a weight that a callback moves."""

    class Penalised(package.layers.Layer):
        def call(self, x):
            self.add_loss(weight * tf.reduce_mean(tf.square(x)))
            return x

    return Penalised()


def weighted_in_training(package, weight):
    class Stronger(package.layers.Layer):
        def call(self, x, training=None):
            return x * (1 + weight) if training else x

    return Stronger()


def reversed_gradient(package, weight):
    """Domain-adversarial training (Ganin et al. 2016), whose schedule begins at 0."""

    @tf.custom_gradient
    def reverse(x):
        return tf.identity(x), lambda upstream: -weight * upstream

    class Reversal(package.layers.Layer):
        def call(self, x):
            return reverse(x)

    return Reversal()


def stated_gradient_of_ones_own(package, weight):
    """The same with the number in the layer, where the quantized model has a copy."""

    class Reversal(package.layers.Layer):
        def __init__(self, strength, **kwargs):
            super().__init__(**kwargs)
            self.strength = strength

        def call(self, x):
            @tf.custom_gradient
            def reverse(x):
                return tf.identity(x), lambda upstream: -self.strength * upstream

            return reverse(x)

    return Reversal(weight, name="reversal")


def loss_and_gradients(model):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(POINTS, training=True))) + sum(model.losses)
    return [loss.numpy(), *(each.numpy() for each in tape.gradient(loss, model.trainable_variables))]


@pytest.mark.medium
@pytest.mark.parametrize("package", [tf_keras, keras])
@pytest.mark.parametrize("make", [weighted_loss, weighted_in_training, reversed_gradient, stated_gradient_of_ones_own])
def test_what_a_callback_moves_moves_the_quantized_model(package, make, recwarn):
    package.utils.set_random_seed(3)
    weight = (tf if package is tf_keras else keras).Variable(0.0, trainable=False, name="strength")
    entry = package.Input((6,))
    inner = make(package, weight)(package.layers.Dense(5)(entry))
    model = package.Model(entry, package.layers.Dense(3, kernel_regularizer=regularizer(package, weight))(inner))
    quantized = quantize_model(model, POINTS)
    assert not [each for each in recwarn if "TrainingSemantics" in each.category.__name__]
    quantized.fake_quantization(False)
    for strength in (0.0, 1.0, 3.0):
        weight.assign(strength)
        if make is stated_gradient_of_ones_own:
            quantized.get_layer("reversal").strength.assign(strength)
        for expected, found in zip(loss_and_gradients(model), loss_and_gradients(quantized), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def regularizer(package, weight):
    class Weighted(package.regularizers.Regularizer):
        def __call__(self, kernel):
            return weight * tf.reduce_sum(tf.square(tf.convert_to_tensor(kernel)))

    return Weighted()


def test_another_process_reads_what_it_was_when_the_model_was_written(monkeypatch):
    weight = tf.Variable(0.0, trainable=False)
    entry = tf_keras.Input((6,))
    model = tf_keras.Model(entry, tf_keras.layers.Dense(3)(weighted_loss(tf_keras, weight)(entry)))
    quantized = quantize_model(model, POINTS)
    weight.assign(2.0)
    config = quantized.get_config()
    monkeypatch.setattr(outside_variables, "_HELD", {})
    loaded = type(quantized).from_config(config)
    loaded.set_weights(quantized.get_weights())
    weight.assign(5.0)
    loaded(POINTS, training=True)
    assert float(loaded.losses[0]) == pytest.approx(2.0 * np.mean(POINTS**2), rel=1e-2)


def test_a_saved_model_holds_what_it_was(tmp_path):
    weight, entry = tf.Variable(2.0, trainable=False), tf_keras.Input((6,))
    quantize_model(tf_keras.Model(entry, weighted_loss(tf_keras, weight)(entry)), POINTS).save(tmp_path / "saved")
    assert (tmp_path / "saved" / "saved_model.pb").is_file()


def test_nothing_but_the_model_keeps_the_variable_alive():
    weight, entry = tf.Variable(2.0, trainable=False), tf_keras.Input((6,))
    quantized = quantize_model(tf_keras.Model(entry, weighted_loss(tf_keras, weight)(entry)), POINTS)
    names = [name for name, held in outside_variables._HELD.items() if held is weight]
    alive = weakref.ref(weight)
    assert names
    del weight, quantized, entry
    tf_keras.backend.clear_session()
    gc.collect()
    assert alive() is None


def test_an_output_by_a_variable_that_moves_is_said():
    alpha, entry = tf.Variable(1.0, trainable=False, name="alpha"), tf_keras.Input((6,))

    class Faded(tf_keras.layers.Layer):
        def call(self, x):
            return alpha * x

    quantized = quantize_model(tf_keras.Model(entry, Faded()(tf_keras.layers.Dense(2)(entry))), POINTS)
    quantized.compile("sgd", "mse")
    quantized.fit(POINTS, POINTS[:, :2], verbose=0)
    alpha.assign(3.0)
    with pytest.warns(TrainingSemanticsWarning, match=r"variable 'alpha:0', which no layer holds .* was set to 3;"):
        quantized.fit(POINTS, POINTS[:, :2], verbose=0)
