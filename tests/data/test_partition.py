"""How one source becomes four splits: what depends on which seed, and what never meets."""

import numpy as np
import pytest

from qat.config import DataConfig
from qat.data import load
from qat.errors import CalibrationError, ConfigError, DataError


@pytest.fixture
def path(save_npz):
    """200 samples of 4 uneven classes; the only feature of a sample is its index."""
    labels = np.repeat([0, 1, 2, 3], [100, 60, 30, 10])
    return save_npz(x=np.arange(200, dtype=np.float32)[:, None], y=labels)


def indices(split):
    return split.raw()[:, 0].astype(int).tolist()


def splits_of(path, calibration_samples=20, seed=0, **settings):
    return load(DataConfig(name="npz", path=path, **settings), calibration_samples, seed)


def test_every_split_keeps_the_share_of_each_class(path):
    splits = splits_of(path)
    for split in (splits.train, splits.val, splits.test, splits.calibration):
        np.testing.assert_allclose(np.bincount(split.labels) / len(split), [0.5, 0.3, 0.15, 0.05], atol=1 / len(split))


def test_another_seed_draws_other_calibration_samples_from_the_same_splits(path):
    first, second = splits_of(path, seed=0), splits_of(path, seed=1)
    for name in ("train", "val", "test"):
        assert indices(getattr(first, name)) == indices(getattr(second, name))
    assert indices(first.calibration) != indices(second.calibration)
    assert first.fingerprint() == second.fingerprint()


def test_another_split_seed_draws_other_splits(path):
    first, second = splits_of(path), splits_of(path, split_seed=1)
    assert indices(first.test) != indices(second.test)
    assert first.fingerprint() != second.fingerprint()


def test_the_test_split_does_not_depend_on_val_or_calibration(path):
    assert indices(splits_of(path).test) == indices(splits_of(path, 50, seed=3, val_fraction=0.4).test)


def test_calibration_is_the_recorded_rows_of_train_and_none_of_val_or_test(path):
    splits = splits_of(path)
    np.testing.assert_array_equal(splits.calibration.raw(), splits.train.raw(splits.calibration_indices))
    np.testing.assert_array_equal(splits.calibration.labels, splits.train.labels[splits.calibration_indices])
    assert not set(indices(splits.calibration)) & set(indices(splits.val) + indices(splits.test))


def test_no_calibration_samples_can_be_asked_for(path):
    splits = splits_of(path, 0)
    assert len(splits.calibration) == len(splits.calibration_indices) == 0


@pytest.mark.parametrize("samples", [111, -1])
def test_more_calibration_samples_than_train_has_are_refused(path, samples):
    assert len(splits_of(path).train) == 110
    with pytest.raises(CalibrationError, match=rf"quant.calibration.samples={samples}: train has 110 samples"):
        splits_of(path, samples)


def test_where_nobody_says_how_many_there_are_256_calibration_samples_or_all_of_fewer(path):
    assert len(splits_of(path, None).calibration) == 110
    assert len(load(DataConfig(name="digits"), None, 0).calibration) == 256


def test_max_samples_cuts_every_split_to_a_part_of_itself(path):
    cut, whole = splits_of(path, 10, max_samples=12), splits_of(path)
    for name in ("train", "val", "test"):
        assert len(getattr(cut, name)) == 12
        assert set(indices(getattr(cut, name))) <= set(indices(getattr(whole, name)))


def test_a_class_of_one_sample_stays_in_train(save_npz):
    splits = splits_of(save_npz(x=np.ones((21, 2), np.float32), y=np.array([0] * 20 + [1])), 2)
    assert (splits.train.labels == 1).sum() == 1
    assert (splits.test.labels == 1).sum() == (splits.val.labels == 1).sum() == 0


def test_too_few_samples_for_a_val_split_are_refused(save_npz):
    path = save_npz(x=np.ones((2, 2), np.float32), y=np.array([0, 1]))
    with pytest.raises(DataError, match=r"data.test_fraction=0.35 of 2 samples in 2 classes leaves none for test"):
        splits_of(path, 1)


def test_with_a_normal_class_only_val_and_test_hold_anomalies(path):
    splits, whole = splits_of(path, 10, normal_class=1), splits_of(path)
    assert splits.class_names == ("normal", "anomaly")
    assert not splits.train.labels.any()
    assert not splits.calibration.labels.any()
    assert set(indices(splits.train)) == {i for i in indices(whole.train) if 100 <= i < 160}
    for name in ("val", "test"):
        assert indices(getattr(splits, name)) == indices(getattr(whole, name))
        np.testing.assert_array_equal(getattr(splits, name).labels, getattr(whole, name).labels != 1)


def test_anomalies_may_be_known_to_val_and_test_alone(save_npz):
    x, zeros, both = np.ones((40, 3), np.float32), np.zeros(40, int), np.arange(40) % 2
    path = save_npz(x_train=x, y_train=zeros, x_val=x, y_val=both, x_test=x, y_test=both)
    assert splits_of(path, normal_class=0).test.labels.tolist() == both.tolist()


def test_a_val_split_without_anomalies_is_refused(save_npz):
    x, zeros, both = np.ones((40, 3), np.float32), np.zeros(40, int), np.arange(40) % 2
    path = save_npz(x_train=x, y_train=zeros, x_test=x, y_test=both)
    with pytest.raises(DataError, match=r"data.normal_class=0: val holds 6 normal samples and 0 anomalies"):
        splits_of(path, normal_class=0)


def test_a_normal_class_that_is_none_is_refused(path):
    with pytest.raises(ConfigError, match=r"data.normal_class=4: expected a class, 0..3"):
        splits_of(path, normal_class=4)
