"""A tiny network of Keras 3 with BatchNormalization, a penalty and dropout, and its quantized model."""

import keras
import numpy as np

from qat.quantization import quantize_model

SHAPE, CLASSES = (8, 8, 3), 4


def build(of=keras, seed=1):
    """The network, by the layers of either Keras."""
    of.utils.set_random_seed(seed)
    layers = of.layers
    image = of.Input(SHAPE, name="image")
    x = layers.Conv2D(6, 3, strides=2, use_bias=False, kernel_regularizer=of.regularizers.L2(1e-2), name="stem")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(momentum=0.9, name="norm")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return of.Model(image, layers.Dense(CLASSES, activation="softmax", name="head")(x), name="tiny3")


def images():
    """Calibration rows, and labels that can be learned from them."""
    x = np.random.default_rng(0).normal(0, 1, (96, *SHAPE)).astype(np.float32)
    return x, np.digitize(x.mean(axis=(1, 2, 3)), [-0.05, 0, 0.05]).astype(np.int64)


def quantized(float_model=None):
    """The quantized model of Keras 3, not compiled."""
    float_model = build(keras) if float_model is None else float_model
    return quantize_model(float_model, images()[0])
