"""BatchNormalization whose statistics are not those of the data is said; that of a trained model is not."""

import warnings

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(3.0, 5.0, (128, 8, 8, 3)).astype(np.float32)


def network():
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((8, 8, 3))
    x = image
    for name in ("one", "two"):
        x = layers.Conv2D(6, 3, padding="same", name=name, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    return tf_keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def test_a_model_that_was_never_trained_is_said_to_have_unsettled_statistics():
    with pytest.warns(
        UserWarning, match=r"moving statistics of BatchNormalization are far .* of 2 layers .*'one"
    ) as said:
        quantize_model(network(), ROWS)
    assert {each.filename for each in said} == {__file__}  # the line that called it


def test_a_model_that_has_seen_its_data_is_not():
    model = network()
    for _ in range(12):
        model(ROWS, training=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize_model(model, ROWS)
