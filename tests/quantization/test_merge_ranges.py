"""Ranges of a block that concatenates again and again: one where they are near, each its own where they are not."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.keras.op import Op
from qat.quantization.keras.range_layer import RangeLayer
from qat.tflite import Interpreter, convert, read

IMAGES = np.random.default_rng(0).normal(size=(32, 8, 8, 4)).astype(np.float32)


def dense_block(growth, steps=3):
    """Each step adds channels that are `growth` times as large as those before."""
    image = x = tf_keras.Input((8, 8, 4), name="image")
    for _ in range(steps):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(4, 1, kernel_initializer=tf_keras.initializers.RandomNormal(0, 0.5 * growth))(y)
        x = layers.Concatenate()([x, y])
    return tf_keras.Model(image, layers.Conv2D(2, 1)(layers.ReLU()(layers.BatchNormalization()(x))))


def parts(growth):
    tf_keras.utils.set_random_seed(0)
    model = quantize_model(dense_block(growth), IMAGES)
    rounded = [layer for layer in model.layers if isinstance(layer, Op) and layer.op == "requantize"]
    return model, rounded


@pytest.mark.medium
@pytest.mark.parametrize(("growth", "rounded_anew"), [(1.0, 0), (8.0, 3)])
def test_what_is_near_is_one_range_and_what_is_far_stays_apart(growth, rounded_anew):
    model, rounded = parts(growth)
    assert len(rounded) == rounded_anew
    content = convert(model)
    joined = [op for op in read(content).subgraphs[0].ops if op.name == "CONCATENATION"]
    assert len(joined) == 3
    np.testing.assert_allclose(
        Interpreter(content).predict(IMAGES), model.predict(IMAGES, verbose=0), rtol=1e-5, atol=1e-5
    )


@pytest.mark.medium
def test_one_range_of_two_holds_both_and_follows_both_in_training():
    model, _ = parts(1.0)
    shared = [layer for layer in model.layers if isinstance(layer, RangeLayer) and layer.calls > 1]
    assert len(shared) == 1
    before = shared[0].range
    model.compile("sgd", "mse")
    model.fit(IMAGES * 3, np.zeros((32, 8, 8, 2), np.float32), epochs=2, verbose=0)
    assert shared[0].range[1] > 1.5 * before[1]


def test_raw_pixels_may_be_joined_to_what_a_layer_makes_of_them():
    """Ranges as wide as these are looked at once more, for numbers that become one code."""
    entry = tf_keras.Input((8, 8, 3), name="image")
    small = tf_keras.initializers.RandomNormal(stddev=0.01)
    joined = layers.Concatenate()([entry, layers.Conv2D(4, 3, padding="same", kernel_initializer=small)(entry)])
    rows = np.random.default_rng(0).uniform(0, 255, (32, 8, 8, 3)).astype(np.float32)
    quantized = quantize_model(tf_keras.Model(entry, layers.Conv2D(2, 1)(joined)), rows)
    assert quantized.predict(rows, verbose=0).shape == (32, 8, 8, 2)
