"""One tiny network with everything that the quantizers tell apart, made once for all tests of this folder."""

import numpy as np
import pytest

from qat.quantization import quantize_model
from qat.tflite import convert

SHAPE, CLASSES = (12, 12, 3), 5


def tiny_network(seed=3):
    """Conv-BN-ReLU, depthwise-BN-ReLU, pointwise, pooling, softmax; kernels whose channels differ in size."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(seed)
    image = tf_keras.Input(SHAPE, name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(momentum=0.9, name="stem_bn")(x)
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.BatchNormalization(momentum=0.9, name="depthwise_bn")(x)
    x = layers.ReLU(name="depthwise_relu")(x)
    x = layers.Conv2D(12, 1, activation="relu", name="pointwise")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = tf_keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="head")(x), name="tiny")
    random = np.random.default_rng(seed)
    for norm in (model.get_layer("stem_bn"), model.get_layer("depthwise_bn")):
        norm.moving_mean.assign(random.normal(0, 0.2, norm.moving_mean.shape))
        norm.moving_variance.assign(random.uniform(0.2, 2, norm.moving_variance.shape))
    head = model.get_layer("head")
    head.kernel.assign(head.kernel * 60)
    return model


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).normal(0, 1, (160, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="session")
def labels(images):
    return (np.abs(images).sum(axis=(1, 2, 3)) * 10).astype(np.int64) % CLASSES


@pytest.fixture
def network():
    """A fresh one, for tests that change it."""
    return tiny_network()


@pytest.fixture(scope="session")
def tiny():
    """The float model; not to be changed."""
    return tiny_network()


@pytest.fixture(scope="session")
def qat_model(tiny, images):
    """Calibrated, not trained; not to be changed."""
    return quantize_model(tiny, images)


@pytest.fixture(scope="session")
def tflite_model(qat_model):
    return convert(qat_model)
