"""Which inputs a model multiplies as they come, and which it scales, normalizes or looks up first."""

import pytest
import tf_keras
from tf_keras import layers

from qat.models.leading_layers import find_unscaled_inputs


def image(*front):
    head = [layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(2)]
    return tf_keras.Sequential([layers.Input((8, 8, 3)), *front, *head])


def by_operator():
    entry = tf_keras.Input((8, 8, 3))
    return tf_keras.Model(entry, layers.Conv2D(4, 3)(entry / 255.0))


def nested(*steps):
    """A model in front, as augmentation is written."""
    entry = tf_keras.Input((8, 8, 3))
    return tf_keras.Model(entry, layers.Conv2D(4, 3, name="conv")(tf_keras.Sequential(list(steps))(entry)))


def two_inputs():
    ids, pixels = tf_keras.Input((4,), name="ids"), tf_keras.Input((8, 8, 3), name="pixels")
    read = layers.Flatten()(layers.Embedding(9, 3)(ids))
    seen = layers.Flatten()(layers.Conv2D(4, 3, name="conv")(pixels))
    return tf_keras.Model([ids, pixels], layers.Dense(2)(layers.Concatenate()([read, seen])))


@pytest.mark.parametrize(
    ("model", "multiplied"),
    [
        (image, {0: "conv"}),
        (lambda: image(layers.RandomFlip(), layers.ZeroPadding2D()), {0: "conv"}),
        (lambda: image(layers.RandomFlip(), layers.Rescaling(1 / 255)), {}),
        (lambda: image(layers.Normalization(mean=3.0, variance=2.0)), {}),
        (lambda: image(layers.BatchNormalization()), {}),
        (lambda: nested(layers.RandomFlip(), layers.RandomZoom(0.1)), {0: "conv"}),
        (lambda: nested(layers.RandomFlip(), layers.Rescaling(1 / 255)), {}),
        (by_operator, {}),
        (two_inputs, {1: "conv"}),
        (lambda: tf_keras.Sequential([layers.Input((5,)), layers.Embedding(300, 4)]), {}),
    ],
)
def test_inputs_that_go_into_kernels_as_they_come_are_found(model, multiplied):
    assert find_unscaled_inputs(model()) == multiplied
