"""The downloaded sets, with a stand-in for the download; and the real ones from local files where they are present."""

import sys
import types

import numpy as np
import pytest

from qat.config import DataConfig
from qat.data import load
from qat.errors import DataError


@pytest.fixture
def downloads(monkeypatch):
    """downloads("mnist", function): what `tf_keras.datasets.mnist.load_data` does, without TensorFlow."""

    def replace_loader(name, load_data):
        monkeypatch.setitem(sys.modules, f"tf_keras.datasets.{name}", types.SimpleNamespace(load_data=load_data))

    return replace_loader


def part(samples, shape):
    return np.zeros((samples, *shape), np.uint8), (np.arange(samples) % 10)[:, None].astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "stored", "shape", "second_class"),
    [
        ("mnist", (28, 28), (28, 28, 1), "1"),
        ("fashion_mnist", (28, 28), (28, 28, 1), "Trouser"),
        ("cifar10", (32, 32, 3), (32, 32, 3), "automobile"),
    ],
)
def test_what_is_downloaded_becomes_images_with_named_classes(downloads, name, stored, shape, second_class):
    downloads(name, lambda: (part(100, stored), part(50, stored)))
    splits = load(DataConfig(name=name), 10, 0)
    assert (len(splits.train), len(splits.val), len(splits.test)) == (85, 15, 50)
    assert (splits.contract.shape, splits.class_names[1]) == (shape, second_class)


def test_a_local_file_is_read_in_place_of_the_download(downloads, save_npz):
    downloads("mnist", lambda: pytest.fail("downloaded though data.path is set"))
    (x_train, y_train), (x_test, y_test) = part(100, (28, 28)), part(50, (28, 28))
    path = save_npz(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    assert len(load(DataConfig(name="mnist", path=path), 10, 0).test) == 50


def test_a_failed_download_says_how_to_do_without(downloads):
    def offline():
        raise Exception("URL fetch failure on https://example.org: None -- unreachable")

    downloads("cifar10", offline)
    with pytest.raises(DataError, match=r"data=cifar10 could not be downloaded \(URL fetch failure.*set data.path"):
        load(DataConfig(name="cifar10"), 10, 0)


def test_real_cifar10(real_data):
    splits = load(DataConfig(name="cifar10", path=real_data("cifar10/cifar10.npz")), 500, 0)
    assert (len(splits.train) + len(splits.val), len(splits.test)) == (12_000, 10_000)
    assert np.bincount(splits.calibration.labels).tolist() == [50] * 10


def test_real_fashion_mnist_resized_to_three_channels(real_data):
    path = real_data("fashion_mnist/fashion_mnist.npz")
    splits = load(DataConfig(name="fashion_mnist", path=path, image_size=[32, 32], channels=3, max_samples=50), 10, 0)
    assert splits.train.inputs().shape == (50, 32, 32, 3)


def test_real_keyword_features_with_the_names_from_their_file(real_data):
    path = real_data("speech_commands_test/speech_commands_v2_test_mfcc49x10.npz")
    splits = load(DataConfig(name="npz", path=path), 100, 0)
    assert (splits.contract.layout, splits.contract.shape) == ("features", (49, 10, 1))
    assert splits.class_names[-2:] == ("Silence", "Unknown")
    assert len(splits.train) + len(splits.val) + len(splits.test) == 4_890
