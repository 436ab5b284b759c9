"""Branches that start from one max pooling, as in InceptionV3."""

import numpy as np
import pytest
import tf_keras

from qat.quantization import quantize_model
from qat.tflite import convert, verify


def _branches(pooling: tf_keras.layers.Layer) -> tf_keras.Model:
    layers = tf_keras.layers
    image = tf_keras.Input((8, 8, 3))
    start = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, padding="same", activation="relu")(image))
    plain = layers.Conv2D(4, 1, activation="relu")(start)
    pooled = layers.Conv2D(4, 1, activation="relu")(pooling(start))
    return tf_keras.Model(image, layers.Concatenate()([plain, pooled]))


@pytest.mark.parametrize("pooling", [tf_keras.layers.AveragePooling2D, tf_keras.layers.MaxPooling2D])
def test_a_convolution_beside_a_second_pooling_computes_in_integers(pooling):
    tf_keras.utils.set_random_seed(0)
    rows = np.random.default_rng(0).normal(size=(100, 8, 8, 3)).astype(np.float32)
    qat_model = quantize_model(_branches(pooling(3, 1, padding="same")), rows)
    assert verify(convert(qat_model, allow_float=True)).float_ops == ()
