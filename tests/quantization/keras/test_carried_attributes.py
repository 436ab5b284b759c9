"""What a user's class holds is the quantized model's own: training it leaves the float model's as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
KINDS = (ROWS.sum(axis=1) > 0).astype(np.int64)
LOSS = "sparse_categorical_crossentropy"


class Noisy(tf_keras.Model):
    """Its step draws from a generator of its own, and counts in a list."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.draws, self.seen = tf.random.Generator.from_seed(3), [np.zeros(1)]

    def train_step(self, data):
        x, y = data
        self.seen[0] += 1
        return super().train_step((x + self.draws.normal(tf.shape(x)), y))


class Noisy3(keras.Model):
    """The same by Keras 3's own seeds, and sums of gradients in variables of TensorFlow that Keras does not see."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.draws, self.seen = keras.random.SeedGenerator(3), [tf.Variable(0.0)]

    def train_step(self, data):
        x, y = data
        self.seen[0].assign_add(1.0)
        return super().train_step((x + keras.random.normal(tf.shape(x), seed=self.draws), y))


def made(of, kind):
    of.utils.set_random_seed(1)
    entry = of.Input((6,))
    return kind(entry, of.layers.Dense(2, activation="softmax", name="head")(entry))


def trained(model, of):
    """Its weights after an epoch."""
    model.compile(of.optimizers.SGD(0.1), LOSS)
    model.fit(ROWS, KINDS, shuffle=False, verbose=0)
    return [np.asarray(variable) for variable in model.trainable_variables]


def assert_same_draws(of, kind, state):
    model = made(of, kind)
    twin = quantize_model(model, ROWS)
    twin.fake_quantization(False)
    before = np.copy(state(model))
    expected = trained(twin, of)
    np.testing.assert_array_equal(state(model), before)
    assert np.asarray(model.seen[0]) == 0
    assert np.asarray(twin.seen[0]) > 0
    for mine, theirs in zip(trained(model, of), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    return twin


@pytest.mark.medium
def test_a_generator_of_random_numbers_and_an_array():
    assert_same_draws(tf_keras, Noisy, lambda model: model.draws.state)


@pytest.mark.medium
def test_seeds_and_variables_of_keras_3(tmp_path):
    twin = assert_same_draws(keras, Noisy3, lambda model: model.draws.state)
    twin.save(tmp_path / "twin.keras")
    loaded = keras.models.load_model(tmp_path / "twin.keras", custom_objects={"Noisy3": Noisy3})
    np.testing.assert_array_equal(loaded.draws.state, twin.draws.state)
