"""The gradient of an embedding is one of the rows that the batch has, with rounding too."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model

IDS = np.random.default_rng(0).integers(0, 10, (64, 7)).astype(np.int32)
TARGETS = np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32)


def words(library):
    library.utils.set_random_seed(0)
    ids = library.Input((7,), dtype="int32")
    x = library.layers.GlobalAveragePooling1D()(library.layers.Embedding(20, 6)(ids))
    return library.Model(ids, library.layers.Dense(2)(x))


@pytest.mark.parametrize("library", [tf_keras, keras], ids=["Keras 2", "Keras 3"])
def test_clipping_by_norm_sees_the_rows_of_a_batch(library):
    model = words(library)
    steps = []
    for each in (quantize_model(model, IDS), model):
        before = np.array(tf.convert_to_tensor(each.trainable_variables[0]))
        each.compile(library.optimizers.SGD(1.0, clipnorm=0.05), "mse")
        each.fit(IDS, TARGETS, batch_size=64, verbose=0)
        steps.append(np.array(tf.convert_to_tensor(each.trainable_variables[0])) - before)
    np.testing.assert_allclose(*steps, atol=1e-3 * np.abs(steps[1]).max() + 2e-4)
    assert not np.any(steps[0][10:])


@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_has_rows_and_is_that_of_a_table(training):
    quantized = quantize_model(words(tf_keras), IDS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(quantized(IDS[:8], training=training))
    gradient = tape.gradient(loss, quantized.trainable_variables[0])
    assert isinstance(gradient, tf.IndexedSlices)
    assert set(gradient.indices.numpy()) == set(IDS[:8].ravel())
