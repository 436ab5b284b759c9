"""A training step is traced once, unless what it draws or does depends on the number of traces."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32)


def traces_of_a_fit(of, *between, train_step=None):
    made = of.Sequential([of.Input((4,)), of.layers.Dense(3, activation="relu"), *between, of.layers.Dense(1)])
    if train_step is not None:
        own = type("Own", (of.Model,), {"train_step": train_step})
        made = own(made.inputs, made.outputs)
    model = quantize_model(made, ROWS)
    model.compile(of.optimizers.Adam(), "mse", metrics=["mae"])
    traced, compute_loss = [], model.compute_loss

    def counted(*arguments, **options):
        traced.append(tf.executing_eagerly())
        return compute_loss(*arguments, **options)

    object.__setattr__(model, "compute_loss", counted)
    model.fit(ROWS, ROWS[:, :1], epochs=2, verbose=0)
    assert traced
    assert not any(traced)
    return len(traced)


@pytest.mark.parametrize("of", [tf_keras, keras], ids=["tf_keras", "keras"])
def test_a_step_whose_optimizer_and_metrics_begin_in_it_is_traced_once(of):
    assert traces_of_a_fit(of) == 1


def test_random_numbers_of_a_seed_are_those_of_two_traces_as_before():
    assert traces_of_a_fit(tf_keras, tf_keras.layers.Dropout(0.5, seed=1)) == 2
    assert traces_of_a_fit(tf_keras, tf_keras.layers.Dropout(0.5)) == 1


def test_a_step_of_the_users_is_traced_as_keras_does():
    assert traces_of_a_fit(tf_keras, train_step=lambda self, data: tf_keras.Model.train_step(self, data)) == 2


def test_a_scale_of_losses_that_moves_in_training_is_read_in_each_step():
    weights = []
    for scaled in (False, True):
        keras.utils.set_random_seed(0)
        model = quantize_model(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), ROWS)
        optimizer = keras.optimizers.SGD(0.01)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, dynamic_growth_steps=2)
        model.compile(optimizer, "mse")
        model.fit(ROWS, ROWS[:, :1], batch_size=16, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights()[0])
    np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-6)
