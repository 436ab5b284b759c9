"""Layers that are called twice, with a state that each call moves: the second call goes on from the first, as in float,
or it is said that none moves it."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32) + 1.0


def moved_then_used(layer, x):
    layer.mean.assign_add(0.1 * tf.reduce_mean(x, 0))
    return x * layer.mean


def used_then_moved(layer, x):
    y = x * layer.mean
    layer.mean.assign_add(0.1 * tf.reduce_mean(x, 0))
    return y


def first_or_moving(layer, x):
    """As of a norm whose running mean is used in training: the first batch sets it."""
    layer.count.assign_add(1.0)
    seen = tf.reduce_mean(x, 0)
    tf.cond(layer.count <= 1, lambda: layer.mean.assign(seen), lambda: layer.mean.assign(0.9 * layer.mean + 0.1 * seen))
    return x - layer.mean


def moved_and_not_used(layer, x):
    seen = tf.reduce_mean(x, 0)
    layer.mean.assign(0.9 * layer.mean + 0.1 * seen)
    return x - seen


def set_anew(layer, x):
    layer.mean.assign(tf.reduce_mean(x, 0))
    return x - layer.mean


def moved_for_a_loss(layer, x):
    layer.mean.assign_add(0.1 * tf.reduce_mean(x, 0))
    layer.add_loss(tf.reduce_mean(tf.square(x * layer.mean)))
    return x


def stateful(of, moves):
    class Stateful(of.layers.Layer):
        def build(self, shape):
            self.mean = self.add_weight(name="mean", shape=shape[-1:], initializer="ones", trainable=False)
            self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)

        def call(self, x, training=None):
            return moves(self, x) if training else x * self.mean

    return Stateful(name="stateful")


def called_twice(of, moves, chain):
    of.utils.set_random_seed(0)
    entry, layer, dense = of.Input((6,)), stateful(of, moves), of.layers.Dense(5)
    first = layer(dense(entry))
    last = (
        layer(of.layers.Dense(5)(first)) if chain else of.layers.Subtract()([first, layer(of.layers.Dense(5)(entry))])
    )
    return of.Model(entry, of.layers.Dense(2)(last))


def steps_of(model):
    """Losses and gradients of two training steps."""
    found = []
    for rows in (ROWS[:32], ROWS[32:]):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(rows, training=True) ** 2) + sum(model.losses)
        found += [loss, *tape.gradient(loss, model.trainable_variables)]
    return found


def quantized(model):
    """The model with fake quantization off, and what is said of it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = quantize_model(model, ROWS)
    made.fake_quantization(False)
    return made, [str(each.message) for each in said if each.category is TrainingSemanticsWarning]


def check_steps(made, model):
    for given, wanted in zip(steps_of(made), steps_of(model), strict=True):
        np.testing.assert_allclose(given, wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(made.get_layer("stateful").mean, model.get_layer("stateful").mean, rtol=1e-4)


@pytest.mark.medium
@pytest.mark.parametrize("chain", [False, True], ids=["side_by_side", "chain"])
@pytest.mark.parametrize(
    ("moves", "of"),
    [
        (moved_then_used, tf_keras),
        (moved_then_used, keras),
        (used_then_moved, tf_keras),
        (first_or_moving, tf_keras),
        (moved_and_not_used, tf_keras),
        (set_anew, tf_keras),
        (moved_for_a_loss, tf_keras),
    ],
)
def test_a_call_goes_on_from_what_the_one_before_it_has_assigned(moves, of, chain):
    model = called_twice(of, moves, chain)
    made, said = quantized(model)
    assert said == []
    check_steps(made, model)


@pytest.mark.medium
def test_a_third_call_goes_on_from_the_second():
    tf_keras.utils.set_random_seed(0)
    entry, layer = tf_keras.Input((6,)), stateful(tf_keras, first_or_moving)
    model = tf_keras.Model(entry, tf_keras.layers.Dense(2)(layer(tf_keras.layers.Dense(6)(layer(layer(entry))))))
    made, said = quantized(model)
    assert said == []
    check_steps(made, model)


@pytest.mark.medium
def test_a_layer_that_holds_the_one_with_the_state_is_said_to_lose_it():
    class Scaled(tf_keras.layers.Layer):
        def build(self, shape):
            self.mean = self.add_weight("mean", shape[-1:], initializer="ones", trainable=False)

        def call(self, x):
            return x * self.mean

    class Holding(tf_keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.scaled = Scaled(name="scaled")

        def build(self, shape):
            self.scaled.build(shape)

        def call(self, x, training=None):
            if training:
                self.scaled.mean.assign_add(0.1 * tf.reduce_mean(x, 0))
            return self.scaled(x)

    entry, layer = tf_keras.Input((6,)), Holding(name="holding")
    model = tf_keras.Model(entry, tf_keras.layers.Dense(2)(layer(tf_keras.layers.Dense(6)(layer(entry)))))
    made, said = quantized(model)
    assert len(said) == 1
    assert "holding': variable" in said[0]
    assert "goes on from what" in said[0]
    before = [each.numpy() for each in made.get_layer("holding").weights]
    steps_of(made)
    for each, value in zip(made.get_layer("holding").weights, before, strict=True):
        np.testing.assert_array_equal(each, value)
