"""The default data set: real, whole, and split the same for every seed."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from qat.config import DataConfig
from qat.data import load


@pytest.fixture(scope="module")
def splits():
    return load(DataConfig(name="digits"), 256, 0)


def test_all_1797_digits_are_there_and_at_least_35_percent_are_test(splits):
    sizes = [len(split) for split in (splits.train, splits.val, splits.test)]
    assert sizes == [992, 176, 629]
    assert sizes[2] / sum(sizes) >= 0.35
    assert (len(splits.calibration), splits.class_names) == (256, tuple("0123456789"))


def test_raw_is_grey_uint8_of_32_by_32_by_3_from_black_to_white(splits):
    raw = splits.train.raw()
    assert (raw.dtype, raw.shape[1:]) == (np.uint8, (32, 32, 3))
    np.testing.assert_array_equal(raw[..., 0], raw[..., 2])
    assert raw.min() == 0
    assert raw.max() > 240


def test_scaled_down_again_each_picture_is_nearest_to_its_own_original(splits):
    stored = load_digits()
    small = splits.test.raw(range(100))[..., 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(-1, 64)
    distance = ((small[:, None] - stored.data[None] * 255 / 16) ** 2).sum(axis=2)
    nearest = distance.argmin(axis=1)
    np.testing.assert_array_equal(stored.target[nearest], splits.test.labels[:100])
    assert len(set(nearest.tolist())) == 100


def test_another_seed_has_the_same_test_split(splits):
    other = load(DataConfig(name="digits"), 256, 7)
    np.testing.assert_array_equal(other.test.raw(), splits.test.raw())
    assert other.calibration_indices.tolist() != splits.calibration_indices.tolist()


def test_one_channel_and_another_size_can_be_asked_for():
    splits = load(DataConfig(name="digits", channels=1, image_size=[48, 40]), 10, 0)
    assert splits.val.raw().shape[1:] == (32, 32, 1)
    assert splits.val.inputs([0]).shape == (1, 48, 40, 1)
