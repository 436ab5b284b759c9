"""data=mnist, fashion_mnist, cifar10: downloaded by tf_keras, or read from a local .npz at `data.path`."""

from __future__ import annotations

import importlib

from qat.config import DataConfig
from qat.data.arrays import source_from_arrays
from qat.data.npz import read_npz
from qat.data.source import Source
from qat.errors import DataError

FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_mnist(config: DataConfig) -> Source:
    """70,000 handwritten digits, uint8 28x28x1 (LeCun, Cortes, Burges)."""
    return _read(config, "mnist", tuple("0123456789"))


def read_fashion_mnist(config: DataConfig) -> Source:
    """70,000 images of clothes, uint8 28x28x1 (Xiao, Rasul, Vollgraf 2017)."""
    return _read(config, "fashion_mnist", FASHION)


def read_cifar10(config: DataConfig) -> Source:
    """60,000 small photographs, uint8 32x32x3 (Krizhevsky 2009)."""
    return _read(config, "cifar10", CIFAR10)


def _read(config: DataConfig, name: str, class_names: tuple[str, ...]) -> Source:
    if config.path is not None:
        return read_npz(config, class_names)
    loader = importlib.import_module(f"tf_keras.datasets.{name}")
    try:
        (x_train, y_train), (x_test, y_test) = loader.load_data()
    except Exception as error:  # tf_keras raises a bare Exception when a download fails
        raise DataError(
            f"data={name} could not be downloaded ({error}). Without a network, set data.path to a local .npz with "
            "x_train, y_train, x_test and y_test"
        ) from error
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return source_from_arrays(config, arrays, f"data={name}", class_names)
