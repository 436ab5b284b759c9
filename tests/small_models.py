"""Small models and their files, made once for all tests of this folder."""

from types import SimpleNamespace

import numpy as np
import pytest

import qat.tflite as tflite
from qat.contract import Contract

CLASSES = 5
SHAPE = (16, 16, 3)


def images(count, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, *SHAPE)).astype(np.float32)


def small_cnn():
    """Conv-BN-ReLU, depthwise, pooling, softmax; channels of uneven size, so that scales differ."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input(SHAPE, name="image")
    x = layers.Conv2D(8, 3, padding="same", name="stem")(image)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = tf_keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="head")(x), name="cnn")
    model.get_layer("stem").kernel.assign(model.get_layer("stem").kernel * np.geomspace(0.1, 4, 8))
    model.get_layer("head").kernel.assign(model.get_layer("head").kernel * 8)
    return model


def calibrated_qat(model, samples):
    """Stock tfmot, its ranges moved onto the data by running it in training mode."""
    import tensorflow_model_optimization as tfmot

    wrapped = tfmot.quantization.keras.quantize_model(model)
    for _ in range(3):
        wrapped(samples, training=True)
    for variable in wrapped.variables:
        if variable.name.endswith(("_min:0", "_max:0")) and "post_activation" in variable.name:
            variable.assign(variable * 0.5)
    return wrapped


@pytest.fixture(scope="session")
def cnn():
    return small_cnn()


@pytest.fixture(scope="session")
def calibration():
    return images(120)


@pytest.fixture(scope="session")
def files(cnn, calibration):
    """The same model in every scheme, as bytes."""
    return SimpleNamespace(
        float32=tflite.convert(cnn, scheme="float32"),
        int8=tflite.convert(cnn, calibration=calibration),
        uint8=tflite.convert(cnn, calibration=calibration, io="uint8"),
        float_io=tflite.convert(cnn, calibration=calibration, io="float32"),
    )


@pytest.fixture(scope="session")
def qat_model(cnn, calibration):
    return calibrated_qat(cnn, calibration)


@pytest.fixture(scope="session")
def contract():
    return Contract(SHAPE, range=(0.0, 1.0))
