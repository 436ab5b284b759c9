"""A sample that the model is wrong about, and sure of: its loss and its gradient are the float model's."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.keras.range_layer import RangeLayer

WIDE = tf_keras.initializers.RandomNormal(0.0, 24.0, seed=0)  # logits tens apart: most probabilities round to 0
ROWS = np.random.default_rng(0).uniform(-1, 1, (64, 8)).astype("float32")
LABELS = {
    "softmax": (np.arange(64) % 4, "sparse_categorical_crossentropy"),
    "sigmoid": (np.random.default_rng(1).integers(0, 2, (64, 4)), "binary_crossentropy"),
}


def model(activation: str, squares: bool = False) -> tf_keras.Model:
    x = entry = tf_keras.Input((8,))
    x = layers.Dense(8, activation="relu", kernel_initializer=tf_keras.initializers.GlorotUniform(seed=1))(x)
    x = layers.Dense(4, activation=activation, kernel_initializer=WIDE)(x)
    return tf_keras.Model(entry, layers.Reshape((2, 2))(x) if squares else x)


@pytest.mark.medium
@pytest.mark.parametrize(
    "settings",
    [{}, {"run_eagerly": True}, pytest.param({"jit_compile": True}, marks=pytest.mark.slow)],
    ids=["graph", "eager", "xla"],
)
@pytest.mark.parametrize("activation", LABELS)
def test_a_step_sees_the_float_models_loss(activation: str, settings: dict[str, bool]) -> None:
    labels, loss = LABELS[activation]
    given = model(activation)
    quantized = quantize_model(given, ROWS)
    losses = []
    for each in (given, quantized):
        each.compile(tf_keras.optimizers.SGD(0.0), loss, **settings)
        losses.append(each.train_on_batch(ROWS, labels))
    assert losses[0] > 5.0  # a probability of 1e-7, the least that a loss of rounded ones knows, gives 16
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("activation", LABELS)
def test_a_tape_finds_the_float_models_gradient(activation: str) -> None:
    labels, name = LABELS[activation]
    given = model(activation)
    norms = []
    for each in (given, quantize_model(given, ROWS)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf_keras.losses.get(name)(labels, each(ROWS, training=True)))
        norms.append(float(tf.linalg.global_norm(tape.gradient(loss, each.trainable_variables))))
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_what_is_moved_behind_the_softmax_is_not_rounded_in_training() -> None:
    quantized = quantize_model(model("softmax", squares=True), ROWS)
    trained, served = quantized(ROWS, training=True).numpy(), quantized(ROWS, training=False).numpy()
    assert np.abs(trained * 256 - np.rint(trained * 256)).max() > 0.1
    assert np.array_equal(served * 256, np.rint(served * 256))
    assert [layer.of_probabilities for layer in quantized.layers if isinstance(layer, RangeLayer)].count(True) >= 1
