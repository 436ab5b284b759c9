"""Augmentation only moves pixels about, and only by as much as was asked for."""

import numpy as np
import pytest

from qat.config import AugmentationConfig
from qat.data import augment
from qat.errors import DataError

BATCH = np.random.default_rng(0).random((64, 6, 7, 3), dtype=np.float32)


def augmented(seed=0, **settings):
    return augment(BATCH, AugmentationConfig(**settings), np.random.default_rng(seed))


def test_off_by_default_it_returns_the_batch_itself():
    assert augmented() is BATCH


def test_a_flip_mirrors_about_half_of_the_images_and_leaves_the_others():
    flipped = augmented(flip=True)
    mirrored = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, BATCH, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(flipped, BATCH, strict=True)])
    assert np.all(mirrored ^ same)
    assert 16 < mirrored.sum() < 48


@pytest.mark.parametrize(("setting", "mode"), [("shift_pixels", "edge"), ("crop_pixels", "reflect")])
def test_each_image_is_one_of_the_windows_of_its_padded_self(setting, mode):
    moved = augmented(**{setting: 1})
    places = set()
    for image, original in zip(moved, BATCH, strict=True):
        padded = np.pad(original, ((1, 1), (1, 1), (0, 0)), mode=mode)
        windows = [(y, x) for y in range(3) for x in range(3) if np.array_equal(padded[y : y + 6, x : x + 7], image)]
        assert windows
        places.update(windows)
    assert len(places) == 9


def test_the_generator_decides_and_the_batch_is_left_as_it_was():
    before = BATCH.copy()
    settings = {"flip": True, "crop_pixels": 2, "shift_pixels": 1}
    np.testing.assert_array_equal(augmented(3, **settings), augmented(3, **settings))
    assert not np.array_equal(augmented(3, **settings), augmented(4, **settings))
    np.testing.assert_array_equal(BATCH, before)


def test_shape_and_dtype_stay():
    result = augmented(flip=True, crop_pixels=9, shift_pixels=9)
    assert (result.shape, result.dtype) == (BATCH.shape, np.float32)


def test_features_are_refused():
    with pytest.raises(DataError, match=r"data.augmentation is for images.*\(2, 3\)"):
        augment(np.ones((2, 3), np.float32), AugmentationConfig(flip=True), np.random.default_rng(0))
