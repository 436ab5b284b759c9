"""The small networks of the diagnosis' development set, trained once on CIFAR-10 and kept in a cache folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tf_keras
from tf_keras import layers

from .scoring import SHARED

CLASSES = 10


def cifar() -> dict[str, np.ndarray]:
    with np.load(SHARED / "data/cifar10/cifar10.npz") as stored:
        return {name: stored[name] for name in ("x_train", "y_train", "x_test", "y_test")}


def conv_block(x, filters: int, strides: int, name: str, activation: str = "relu"):
    x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_{activation}")(x)


def head(x, inputs, classes: int = CLASSES):
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, name="logits")(x)
    return tf_keras.Model(inputs, layers.Softmax(name="softmax")(x))


def conv_net(rescale: bool = False) -> tf_keras.Model:
    """M1; with `rescale` M3, which takes raw pixels."""
    image = tf_keras.Input((32, 32, 3), name="image")
    x = layers.Rescaling(1 / 255)(image) if rescale else image
    for index, (filters, strides) in enumerate(((24, 1), (32, 2), (48, 2), (64, 2))):
        x = conv_block(x, filters, strides, f"block{index}")
    return head(x, image)


def depthwise_net() -> tf_keras.Model:
    """M2: depthwise-separable."""
    image = tf_keras.Input((32, 32, 3), name="image")
    x = conv_block(image, 24, 1, "stem")
    for index, (filters, strides) in enumerate(((48, 2), (64, 2), (96, 1))):
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False, name=f"dw{index}")(x)
        x = layers.BatchNormalization(name=f"dw{index}_bn")(x)
        x = layers.ReLU(name=f"dw{index}_relu")(x)
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"pw{index}")(x)
        x = layers.BatchNormalization(name=f"pw{index}_bn")(x)
        x = layers.ReLU(name=f"pw{index}_relu")(x)
    return head(x, image)


def swish_net() -> tf_keras.Model:
    """A residual network with swish, for wide activations."""
    image = tf_keras.Input((32, 32, 3), name="image")
    x = conv_block(image, 24, 1, "stem", "swish")
    x = conv_block(x, 48, 2, "down", "swish")
    inner = conv_block(x, 48, 1, "branch", "swish")
    inner = layers.Conv2D(48, 1, use_bias=False, name="project")(inner)
    x = layers.Add(name="sum")([x, inner])
    x = layers.Conv2D(64, 3, 2, padding="same", use_bias=False, name="mix")(x)
    x = layers.BatchNormalization(name="mix_bn")(x)
    x = layers.Activation("swish", name="mix_swish")(x)
    return head(x, image)


def two_heads() -> tf_keras.Model:
    """M4: a class of five and a class of three from one image, heads named against the alphabet."""
    image = tf_keras.Input((32, 32, 3), name="image")
    x = conv_block(image, 16, 2, "block0")
    x = conv_block(x, 32, 2, "block1")
    x = layers.GlobalAveragePooling2D()(x)
    five = layers.Dense(5, activation="softmax", name="zeta")(x)
    three = layers.Dense(3, activation="softmax", name="alpha")(x)
    return tf_keras.Model(image, [five, three])


BUILDERS: dict[str, Callable[[], tf_keras.Model]] = {
    "M1": conv_net,
    "M2": depthwise_net,
    "M3": lambda: conv_net(rescale=True),
    "M1z": conv_net,  # takes mean/std input
    "Mswish": swish_net,
    "M4": two_heads,
}
MEAN, STD = np.float32([0.4914, 0.4822, 0.4465]), np.float32([0.2470, 0.2435, 0.2616])


def preprocess_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    if name == "M3":
        return lambda raw: raw.astype(np.float32)
    if name == "M1z":
        return lambda raw: (raw.astype(np.float32) / 255 - MEAN) / STD
    return lambda raw: raw.astype(np.float32) / 255


def targets(name: str, labels: np.ndarray):
    return [labels % 5, labels % 3] if name == "M4" else labels


def trained(name: str, folder: Path, epochs: int = 8) -> tf_keras.Model:
    """The model of that name, from the cache or trained now."""
    path = folder / f"{name}.keras"
    if path.is_file():
        return tf_keras.models.load_model(path, compile=False)
    data = cifar()
    tf_keras.utils.set_random_seed(0)
    model = BUILDERS[name]()
    x, y = preprocess_of(name)(data["x_train"]), targets(name, data["y_train"].reshape(-1).astype(np.int64))
    steps = epochs * (len(x) // 64)
    rate = tf_keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(tf_keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return tf_keras.models.load_model(path, compile=False)
