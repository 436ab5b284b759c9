"""Networks unlike those on which the diagnosis was built: sound, tones, tables, several inputs or outputs, logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from tf_keras import layers

from .cifar_networks import cifar
from .scoring import SHARED

TESTED = 512
IMAGENET = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
CAFFE = np.float32([103.939, 116.779, 123.68])


@dataclass(frozen=True)
class Data:
    """Raw samples and targets; `labels` None where the task is no classification."""

    x_train: np.ndarray
    y_train: Any
    x_test: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class Network:
    build: Callable[[], tf_keras.Model]
    data: Callable[[], Data]
    preprocess: Callable[[np.ndarray], Any]
    loss: Any = "sparse_categorical_crossentropy"
    epochs: int = 6
    rate: float = 3e-3


# ---- data


@cache
def fashion() -> Data:
    with np.load(SHARED / "data/fashion_mnist/fashion_mnist.npz") as stored:
        x, y = stored["x_train"][:8000], stored["y_train"][:8000].astype(np.int64)
        return Data(x, y, stored["x_test"][:TESTED], stored["y_test"][:TESTED].astype(np.int64))


@cache
def keywords() -> Data:
    with np.load(SHARED / "data/speech_commands_test/speech_commands_v2_test_mfcc49x10.npz") as stored:
        x, y = stored["x"][..., 0], stored["y"].astype(np.int64)
    return Data(x[TESTED:], y[TESTED:], x[:TESTED], y[:TESTED])


@cache
def digits() -> Data:
    from sklearn.datasets import load_digits

    stored = load_digits()
    order = np.random.default_rng(7).permutation(len(stored.images))
    x, y = stored.data[order].astype(np.float32), stored.target[order].astype(np.int64)
    return Data(x[TESTED:], y[TESTED:], x[:TESTED], y[:TESTED])


@cache
def pictures() -> Data:
    stored = cifar()
    y, labels = (stored[n].reshape(-1).astype(np.int64) for n in ("y_train", "y_test"))
    return Data(stored["x_train"], y, stored["x_test"][:TESTED], labels[:TESTED])


@cache
def animals() -> Data:
    full, living = pictures(), np.isin(np.arange(10), [2, 3, 4, 5, 6, 7]).astype(np.int64)
    return Data(full.x_train, living[full.y_train], full.x_test, living[full.labels])


@cache
def scaled_digits() -> Data:
    """Digits and a table of four measurements (0..2000) that say which half of the ten they belong to."""
    full = digits()
    rng = np.random.default_rng(3)

    def packed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        table = np.stack([400.0 * (y % 5) + rng.normal(0, 60, len(y)) for _ in range(4)], axis=1).clip(0, 2000)
        return np.concatenate([x, table], axis=1).astype(np.float32)

    return Data(packed(full.x_train, full.y_train), full.y_train, packed(full.x_test, full.labels), full.labels)


@cache
def distances() -> Data:
    """Two rows of sixteen numbers, one in [0, 1], one in [-20, 20]; the class is where their product is largest."""
    rng = np.random.default_rng(21)
    near, far = rng.uniform(0, 1, (6000, 16)), rng.uniform(-20, 20, (6000, 16))
    x = np.stack([near, far], axis=1).astype(np.float32)
    y = (near[:, :4] * far[:, :4] + near[:, 4:8] * 5).argmax(axis=1).astype(np.int64)
    return Data(x[TESTED:], y[TESTED:], x[:TESTED], y[:TESTED])


@cache
def copies() -> Data:
    full = digits()
    return Data(full.x_train, full.x_train / 16, full.x_test, None)


@cache
def springs() -> Data:
    """Six readings, each of its own size, and one smooth function of them."""
    rng = np.random.default_rng(11)
    x = rng.uniform(0, 1, (4000 + TESTED, 6)) * [1, 10, 0.5, 100, 5, 2]
    y = 3 * np.sin(3 * x[:, 0]) + 0.4 * x[:, 1] + 4 * x[:, 2] * x[:, 5] + 0.02 * x[:, 3] - 0.5 * x[:, 4]
    x, y = x.astype(np.float32), y.astype(np.float32)[:, None]
    return Data(x[TESTED:], y[TESTED:], x[:TESTED], None)


@cache
def tones() -> Data:
    """Forty steps of eight bands; the class is which band swells first."""
    rng = np.random.default_rng(5)
    count, steps, bands = 4000 + TESTED, 40, 8
    y = rng.integers(0, 6, count)
    x = rng.normal(0, 0.35, (count, steps, bands))
    start = rng.integers(4, 20, count)
    for i in range(count):
        x[i, start[i] : start[i] + 12, y[i]] += np.hanning(12) * 2.5
        x[i, start[i] + 6 : start[i] + 18, (y[i] + 3) % bands] += np.hanning(12) * 2.0
    x = x.astype(np.float32)
    return Data(x[TESTED:], y[TESTED:], x[:TESTED], y[:TESTED])


@cache
def located() -> Data:
    """A bright square somewhere in a picture: its class by colour, and its box."""
    rng = np.random.default_rng(9)
    count = 5000 + TESTED
    images = rng.integers(0, 70, (count, 24, 24, 3)).astype(np.uint8)
    classes, size = rng.integers(0, 3, count), rng.integers(5, 12, count)
    left, top = (np.array([rng.integers(0, 24 - s) for s in size]) for _ in range(2))
    for i in range(count):
        images[i, top[i] : top[i] + size[i], left[i] : left[i] + size[i], classes[i]] = rng.integers(150, 255)
    boxes = np.stack([left, top, left + size, top + size], axis=1).astype(np.float32) / 24
    return Data(images[TESTED:], [classes[TESTED:], boxes[TESTED:]], images[:TESTED], classes[:TESTED])


# ---- networks


def _fashion_net() -> tf_keras.Model:
    return tf_keras.Sequential([
        tf_keras.Input((28, 28, 1)),
        layers.Conv2D(12, 5, 2, activation="relu"), layers.Conv2D(24, 3, 2, activation="relu"),
        layers.Flatten(), layers.Dense(48, activation="relu"), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip


def _keyword_net() -> tf_keras.Model:
    x = features = tf_keras.Input((49, 10), name="mfcc")
    for filters, strides in ((32, 1), (48, 2), (64, 2)):
        x = layers.Conv1D(filters, 5, strides, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling1D()(x)
    return tf_keras.Model(features, layers.Dense(12, activation="softmax")(x))


def _table_net() -> tf_keras.Model:
    return tf_keras.Sequential([
        tf_keras.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(32, activation="relu"),
        layers.Dense(10),
    ])  # fmt: skip


def _two_inputs() -> tf_keras.Model:
    picture, table = tf_keras.Input((8, 8, 1), name="picture"), tf_keras.Input((4,), name="measures")
    x = layers.Flatten()(layers.Conv2D(12, 3, activation="relu")(picture))
    x = layers.Concatenate()([layers.Dense(24, activation="relu")(x), layers.Dense(12, activation="relu")(table)])
    return tf_keras.Model(
        [picture, table], layers.Dense(10, activation="softmax")(layers.Dense(32, activation="relu")(x))
    )


def _twins() -> tf_keras.Model:
    near, far = tf_keras.Input((16,), name="near"), tf_keras.Input((16,), name="far")
    x = layers.Concatenate()([layers.Dense(32, activation="relu")(near), layers.Dense(32, activation="relu")(far)])
    x = layers.Dense(32, activation="relu")(layers.Dense(64, activation="relu")(x))
    return tf_keras.Model([near, far], layers.Dense(4, activation="softmax")(x))


def _separable_net() -> tf_keras.Model:
    x = image = tf_keras.Input((28, 28, 1))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(x)))
    for filters in (32, 48):
        x = layers.DepthwiseConv2D(3, 2 if filters == 32 else 1, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(x)))
    return tf_keras.Model(image, layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def _autoencoder() -> tf_keras.Model:
    return tf_keras.Sequential([
        tf_keras.Input((64,)), layers.Dense(48, activation="relu"), layers.Dense(24, activation="relu"),
        layers.Dense(48, activation="relu"), layers.Dense(64),
    ])  # fmt: skip


def _spring_net() -> tf_keras.Model:
    x = readings = tf_keras.Input((6,), name="readings")
    for units in (48, 48):
        x = layers.Dense(units, activation="relu")(x)
    return tf_keras.Model(readings, layers.Dense(1, name="force")(x))


def _binary_net() -> tf_keras.Model:
    x = image = tf_keras.Input((32, 32, 3))
    for filters in (16, 24, 32):
        x = layers.Conv2D(filters, 3, 2, padding="same", activation="relu")(x)
    x = layers.Dense(16, activation="relu")(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(image, layers.Dense(1, activation="sigmoid")(x))


def _inverted_residual() -> tf_keras.Model:
    x = image = tf_keras.Input((32, 32, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(x)))
    for filters, strides in ((24, 2), (24, 1), (32, 1)):
        inner = layers.Conv2D(3 * x.shape[-1], 1, use_bias=False)(x)
        inner = layers.ReLU(6.0)(layers.BatchNormalization()(inner))
        inner = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(inner)
        inner = layers.ReLU(6.0)(layers.BatchNormalization()(inner))
        inner = layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(inner))
        x = layers.Add()([x, inner]) if inner.shape[1:] == x.shape[1:] else inner
    x = layers.GlobalAveragePooling2D()(layers.ReLU(6.0)(layers.Conv2D(64, 1)(x)))
    return tf_keras.Model(image, layers.Softmax()(layers.Dense(10)(x)))


def _rescaling_net() -> tf_keras.Model:
    return tf_keras.Sequential([
        tf_keras.Input((32, 32, 3)), layers.Rescaling(1 / 127.5, -1),
        layers.SeparableConv2D(24, 3, 2, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(48, 3, activation="relu"), layers.Flatten(), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip


def _recurrent_net() -> tf_keras.Model:
    x = steps = tf_keras.Input((40, 8), name="steps")
    return tf_keras.Model(steps, layers.Dense(6, activation="softmax")(layers.LSTM(24)(x)))


def _locator() -> tf_keras.Model:
    x = image = tf_keras.Input((24, 24, 3), name="image")
    for filters in (16, 32, 48):
        x = layers.Conv2D(filters, 3, 2, padding="same", activation="relu")(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    kind, box = layers.Dense(3, activation="softmax", name="kind")(x), layers.Dense(4, name="box")(x)
    return tf_keras.Model(image, [kind, box])


def unit(raw: np.ndarray) -> np.ndarray:
    return raw.astype(np.float32) / 255


def signed(raw: np.ndarray) -> np.ndarray:
    return raw.astype(np.float32) / 127.5 - 1


def standardised(raw: np.ndarray) -> np.ndarray:
    """Keyword features by the training's mean and spread of each coefficient."""
    train = keywords().x_train
    return ((raw - train.mean((0, 1))) / train.std((0, 1))).astype(np.float32)


def imagenet(raw: np.ndarray) -> np.ndarray:
    return (unit(raw) - IMAGENET[0]) / IMAGENET[1]


def caffe(raw: np.ndarray) -> np.ndarray:
    return raw[..., ::-1].astype(np.float32) - CAFFE


def split(raw: np.ndarray) -> list[np.ndarray]:
    return [(raw[:, :64] / 16).reshape(-1, 8, 8, 1).astype(np.float32), (raw[:, 64:] / 1000 - 1).astype(np.float32)]


LOGITS = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
NETWORKS: dict[str, Network] = {
    "fashion": Network(_fashion_net, fashion, lambda raw: unit(raw)[..., None]),
    "keyword": Network(_keyword_net, keywords, standardised, epochs=12),
    "table": Network(_table_net, digits, lambda raw: raw / np.float32(16), LOGITS, 25),
    "pair": Network(_two_inputs, scaled_digits, split, epochs=25),
    "twins": Network(_twins, distances, lambda raw: [raw[:, 0], raw[:, 1]], epochs=12),
    "separable": Network(_separable_net, fashion, lambda raw: unit(raw)[..., None]),
    "copy": Network(_autoencoder, copies, lambda raw: raw / np.float32(16), "mse", 60),
    "spring": Network(_spring_net, springs, lambda raw: raw / np.float32([1, 10, 0.5, 100, 5, 2]), "mse", 60),
    "binary": Network(_binary_net, animals, signed, "binary_crossentropy"),
    "inverted": Network(_inverted_residual, pictures, imagenet, epochs=8),
    "caffe": Network(_inverted_residual, pictures, caffe, epochs=8),
    "rescaling": Network(_rescaling_net, pictures, lambda raw: raw.astype(np.float32)),
    "tones": Network(_recurrent_net, tones, lambda raw: raw, epochs=8, rate=5e-3),
    "locator": Network(_locator, located, unit, ["sparse_categorical_crossentropy", "mse"], 8),
}


def trained(name: str, folder: Path) -> tf_keras.Model:
    """The network of that name, from the cache or trained now."""
    path, network = folder / f"{name}.keras", NETWORKS[name]
    if not path.is_file():
        data = network.data()
        tf_keras.utils.set_random_seed(4)
        model, x = network.build(), network.preprocess(data.x_train)
        steps = network.epochs * (len(data.x_train) // 64 + 1)
        rate = tf_keras.optimizers.schedules.CosineDecay(network.rate, steps)
        model.compile(tf_keras.optimizers.Adam(rate), network.loss)
        model.fit(x, data.y_train, batch_size=64, epochs=network.epochs, verbose=0)
        folder.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return tf_keras.models.load_model(path, compile=False)
