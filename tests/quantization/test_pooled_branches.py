"""Pooling, between what reads it: branches that start from one, as in InceptionV3, and activations behind it."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.export.layer_parity import layer_parity
from qat.quantization import quantize_model
from qat.quantization.keras.range_layer import RangeLayer
from qat.tflite import Interpreter, convert, read, verify


def _branches(pooling: layers.Layer) -> tf_keras.Model:
    image = tf_keras.Input((8, 8, 3))
    start = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, padding="same", activation="relu")(image))
    plain = layers.Conv2D(4, 1, activation="relu")(start)
    pooled = layers.Conv2D(4, 1, activation="relu")(pooling(start))
    return tf_keras.Model(image, layers.Concatenate()([plain, pooled]))


def _quantized(model: tf_keras.Model, seed: int = 0):
    rows = np.random.default_rng(seed).normal(size=(100, *model.input_shape[1:])).astype(np.float32)
    return quantize_model(model, rows), rows


@pytest.mark.parametrize("pooling", [layers.AveragePooling2D, layers.MaxPooling2D])
def test_a_convolution_beside_a_second_pooling_computes_in_integers(pooling):
    tf_keras.utils.set_random_seed(0)
    qat_model, _ = _quantized(_branches(pooling(3, 1, padding="same")))
    assert verify(convert(qat_model, allow_float=True)).float_ops == ()


def _preactivated(x):
    """A dense block: what is joined is normalized by itself, and the pooling is read twice."""
    x = layers.MaxPooling2D(2)(layers.ReLU()(x))
    new = layers.Conv2D(4, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
    return layers.ReLU()(layers.BatchNormalization()(layers.Concatenate()([x, new])))


def _joined_relu(x):
    joined = layers.Concatenate()([layers.Conv2D(4, 3)(x), layers.Conv2D(4, 3)(x)])
    return layers.Concatenate()([layers.ReLU(6.0)(joined), joined])


BEHIND = {
    "relu behind max pooling": lambda x: layers.ReLU()(layers.MaxPooling2D(2)(x)),
    "relu6 behind max pooling": lambda x: layers.ReLU(6.0)(layers.MaxPooling2D(3, 2, padding="same")(x)),
    "padded average": layers.AveragePooling2D(3, 1, padding="same"),
    "relu behind a padded average": lambda x: layers.ReLU()(layers.AveragePooling2D(3, 2, padding="same")(x)),
    "two max poolings and a clip": lambda x: tf.clip_by_value(
        layers.MaxPooling2D(2)(layers.MaxPooling2D(2)(x)), 0.0, 6.0
    ),
    "bilinear": layers.UpSampling2D(2, interpolation="bilinear"),
    "bilinear, odd": layers.Resizing(5, 11),
    "bilinear, corners aligned": lambda x: tf.compat.v1.image.resize_bilinear(x, (13, 5), align_corners=True),
    "dense block": _preactivated,
    "relu6 of what is joined": _joined_relu,
}


@pytest.mark.medium
@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_every_code_of_every_layer_is_that_of_the_simulation(behind):
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((8, 8, 3))
    x = behind(layers.Conv2D(6, 3, padding="same")(image))
    qat_model, rows = _quantized(tf_keras.Model(image, layers.Conv2D(4, 1)(x)))
    content = convert(qat_model)
    assert verify(content).integer_only
    found = layer_parity(qat_model, content, rows)
    assert [(row.layer, row.max_lsb) for row in found if row.max_lsb] == []
    step = read(content).outputs[0].scales[0]
    away = Interpreter(content).predict(rows) - qat_model.predict(rows, verbose=0)
    assert np.abs(away).max() < step / 2


@pytest.mark.parametrize("skip", [[], ["^act$"]])
def test_an_activation_behind_a_padded_average_is_left_in_float_where_that_is_asked(skip):
    image = tf_keras.Input((8, 8, 3))
    x = layers.AveragePooling2D(3, 1, padding="same")(layers.Conv2D(6, 3, padding="same")(image))
    model = tf_keras.Model(image, layers.Conv2D(4, 1)(layers.ReLU(name="act")(x)))
    rows = np.random.default_rng(0).normal(size=(100, 8, 8, 3)).astype(np.float32)
    content = convert(quantize_model(model, rows, config=QuantConfig(skip=skip)), allow_float=True)
    assert [report.layer for report in verify(content).float_ops if report.op == "RELU"] == ["act"] * len(skip)


def test_a_range_observes_what_it_is_of_once_and_both_values_that_are_joined():
    qat_model, _ = _quantized(_branches(layers.AveragePooling2D(3, 1, padding="same")))
    ranges = [layer for layer in qat_model.layers if isinstance(layer, RangeLayer)]
    observed = [[node.call_kwargs["observe"] for node in layer.inbound_nodes] for layer in ranges]
    assert observed == [["ema"], ["ema", "off"], ["together", "together"]]
