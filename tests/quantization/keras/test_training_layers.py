"""What acts in training alone, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.keras.training_layers import Added, DropoutMask


@pytest.mark.parametrize("cell", [pytest.param(layers.GRU, marks=pytest.mark.slow), layers.SimpleRNN])
def test_each_row_of_a_batch_has_its_own_mask_of_the_state(cell) -> None:
    """The first state is a constant of one row: a mask like it would hold for all rows, or for none."""
    series = tf_keras.Input((3, 4))
    model = tf_keras.Model(series, cell(8, recurrent_dropout=0.5, bias_initializer="ones")(series))
    same_rows = np.repeat(np.random.default_rng(0).normal(size=(1, 3, 4)).astype("float32"), 32, axis=0)
    quantized = quantize_model(model, same_rows)
    trained = quantized(same_rows, training=True).numpy()
    assert len(np.unique(trained, axis=0)) > 16
    assert len(np.unique(quantized.predict(same_rows, verbose=0), axis=0)) == 1


class Scattered(layers.Layer):
    """Noise of the user's own, in training."""

    def call(self, x, training=None):
        return x + tf.random.uniform(tf.shape(x)) if training else x


def test_random_ops_of_a_users_layer_take_the_seed_of_the_call() -> None:
    """They were traced under another, which must not go with them."""
    tf_keras.utils.set_random_seed(1)
    entry = tf_keras.Input((4,))
    rows = np.ones((8, 4), np.float32)
    quantized = quantize_model(tf_keras.Model(entry, Scattered()(entry)), rows)
    quantized.fake_quantization(False)

    def drawn(seed: int) -> np.ndarray:
        tf_keras.utils.set_random_seed(seed)
        return tf.function(lambda: quantized(rows, training=True))().numpy()

    assert np.array_equal(drawn(2), drawn(2))
    assert not np.array_equal(drawn(2), drawn(3))


POLES = {
    "inverse root": lambda x: layers.LayerNormalization()(x),
    "log": lambda x: tf.math.log(tf.abs(x) + 1e-3),
    "quotient": lambda x: 1.0 / (tf.abs(x) + 1e-3),
    "share": lambda x: x / tf.reduce_max(x, axis=-1, keepdims=True),
}


@pytest.mark.parametrize("name", POLES)
def test_what_falls_on_code_0_has_a_finite_result_and_gradient_in_training(name) -> None:
    entry = tf_keras.Input((4,))
    x = layers.Dense(4, kernel_initializer="identity", use_bias=False)(entry)
    rows = np.random.default_rng(0).uniform(0.01, 2, size=(64, 4)).astype("float32")
    rows[:4] *= 0.001
    model = quantize_model(tf_keras.Model(entry, POLES[name](x)), rows)
    with tf.GradientTape() as tape:
        y = model(rows, training=True)
    assert np.isfinite(y).all()
    (gradient, *_) = tape.gradient(y, model.trainable_variables)
    assert np.isfinite(gradient).all()
    assert np.any(gradient)


def test_a_mask_has_the_rows_of_a_series_that_begins_with_its_time_axis() -> None:
    mask = DropoutMask(0.5, sizes=[6], batch_axis=1)(tf.zeros((3, 5, 4)), training=True)
    assert mask.shape == (5, 6)
    assert set(np.unique(mask)) == {0.0, 2.0}


@pytest.mark.parametrize(("kind", "metric"), [("loss", ""), ("metric", "size"), ("loss", None)])
def test_what_earlier_versions_wrote_down_is_read(kind, metric) -> None:
    """A metric was its name alone, and that of a loss empty."""
    program = {"steps": [], "results": [["in", 0]], "dtypes": ["float32"]}
    layer = Added.from_config({"kind": kind, "metric": metric, "program": program, "in_training": False})
    entry = tf_keras.Input((2,))
    model = tf_keras.Model(entry, layer([entry, tf.reduce_mean(entry)]))
    model.compile("sgd", "mse")
    found = model.evaluate(np.ones((4, 2)), np.ones((4, 2)), verbose=0, return_dict=True)
    assert found == ({"loss": 1.0} if kind == "loss" else {"loss": 0.0, "size": 1.0})
