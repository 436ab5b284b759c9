"""A split hands out raw samples, inputs and batches that agree with each other."""

import numpy as np
import pytest

from qat.config import DataConfig
from qat.contract import Contract, apply
from qat.data import Split, load
from qat.errors import DataError


@pytest.fixture
def splits(arrays, save_npz):
    return load(DataConfig(name="npz", path=save_npz(**arrays), image_size=[4, 4]), 8, 0)


def test_inputs_are_the_contract_applied_to_raw(splits):
    np.testing.assert_array_equal(splits.val.inputs(), apply(splits.contract, splits.val.raw()))
    np.testing.assert_array_equal(splits.val.inputs([3, 1]), splits.val.inputs()[[3, 1]])


def test_batches_give_every_sample_once_in_order_and_the_last_may_be_short(splits):
    batches = list(splits.train.batches(8))
    assert [len(labels) for _, labels in batches] == [8, 8, 8, 8, 2]
    np.testing.assert_array_equal(np.concatenate([inputs for inputs, _ in batches]), splits.train.inputs())
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), splits.train.labels)


def test_batches_follow_the_indices(splits):
    order = np.random.default_rng(0).permutation(len(splits.train))[:5]
    inputs, labels = next(splits.train.batches(8, order))
    np.testing.assert_array_equal(inputs, splits.train.inputs()[order])
    np.testing.assert_array_equal(labels, splits.train.labels[order])


def test_train_val_and_calibration_share_one_array(splits):
    assert splits.train.samples is splits.val.samples is splits.calibration.samples


def test_taking_some_of_some_is_taking_those(splits):
    taken = splits.train.take([9, 5, 7]).take([2, 0], name="few")
    np.testing.assert_array_equal(taken.raw(), splits.train.raw([7, 9]))
    assert (taken.name, taken.labels.tolist()) == ("few", splits.train.labels[[7, 9]].tolist())


def test_the_fingerprint_sees_samples_labels_and_contract(arrays, save_npz):
    def fingerprint(**changed):
        settings = {key: changed.pop(key) for key in ("resize", "max_samples") if key in changed}
        return load(DataConfig(name="npz", path=save_npz(**{**arrays, **changed}), **settings), 8, 0).fingerprint()

    other_pixel = arrays["x_train"].copy()
    other_pixel[0, 0, 0, 0] ^= 1
    prints = [
        fingerprint(),
        fingerprint(x_train=other_pixel),
        fingerprint(y_train=arrays["y_train"][::-1]),
        fingerprint(resize="area"),
        fingerprint(max_samples=10),
    ]
    assert len(set(prints)) == 5
    assert fingerprint() == prints[0]


def test_the_fingerprint_does_not_look_at_test(arrays, save_npz):
    first = load(DataConfig(name="npz", path=save_npz(**arrays)), 8, 0).fingerprint()
    arrays["x_test"] = arrays["x_test"][::-1]
    assert load(DataConfig(name="npz", path=save_npz(**arrays)), 8, 0).fingerprint() == first


def test_a_batch_of_none_is_refused(splits):
    with pytest.raises(DataError, match="batch_size=0: expected at least 1"):
        next(splits.train.batches(0))


def test_labels_and_samples_of_unequal_number_are_refused():
    with pytest.raises(DataError, match="split val: 3 samples but 2 labels"):
        Split("val", np.zeros(2, np.int64), Contract((2, 2, 1)), np.zeros((3, 2, 2, 1), np.uint8), np.arange(3))
