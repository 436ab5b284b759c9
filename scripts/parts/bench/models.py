"""Models and inputs that `scripts/bench` measures with: random weights, random blocks of colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tf_keras

from qat.config import ModelConfig
from qat.models.resnet8 import build as resnet8
from qat.quantization import quantize_model

apps = tf_keras.applications

MODELS: dict[str, Callable[[], tf_keras.Model]] = {
    "MobileNetV2-0.35": lambda: apps.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10),
    "MobileNetV1-0.25": lambda: apps.MobileNet((96, 96, 3), alpha=0.25, weights=None, classes=10),
    "MobileNetV2": lambda: apps.MobileNetV2((96, 96, 3), weights=None, classes=10),
    "ResNet50": lambda: apps.ResNet50(input_shape=(64, 64, 3), weights=None, classes=10),
    "ResNet8": lambda: resnet8(ModelConfig(name="resnet8"), (32, 32, 3), 10),
}
SIZES = {"ResNet50": 64, "ResNet8": 32}


def images(name: str, rows: int) -> np.ndarray:
    """float32 [rows, size, size, 3] in -1..1: blocks of 16 pixels with noise on them, so that no two look alike."""
    size, rng = SIZES.get(name, 96), np.random.default_rng(0)
    blocks = rng.uniform(-1, 1, (rows, size // 16, size // 16, 3))
    pixels = blocks.repeat(16, axis=1).repeat(16, axis=2) + rng.normal(0, 0.2, (rows, size, size, 3))
    return np.clip(pixels, -1, 1).astype(np.float32)


def enliven(model: tf_keras.Model, inputs: np.ndarray) -> tf_keras.Model:
    """Give BatchNormalization the statistics of these inputs and logits a spread of 3: else all answers are alike."""
    norms = [layer for layer in model.layers if isinstance(layer, tf_keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(inputs, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    logits = np.log(model(inputs, training=False).numpy() + 1e-30)
    head = [layer for layer in model.layers if getattr(layer, "kernel", None) is not None][-1]
    head.kernel.assign(head.kernel * (3.0 / np.std(logits - logits.mean(axis=-1, keepdims=True))))
    return model


def labels(rows: int) -> np.ndarray:
    return np.arange(rows) % 10


def quantized(model: tf_keras.Model, calibration: np.ndarray) -> tf_keras.Model:
    return quantize_model(model, calibration)


def stock_quantized(model: tf_keras.Model) -> tf_keras.Model:
    import tensorflow_model_optimization as tfmot

    return tfmot.quantization.keras.quantize_model(model)


def compiled(model: tf_keras.Model) -> tf_keras.Model:
    model.compile(tf_keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
