"""What Keras is fed: every sample, in an order that the seed decides, prepared as the split prepares it."""

import numpy as np
import pytest

from qat.config import AugmentationConfig
from qat.contract import Contract
from qat.data import Split, augment
from qat.training import feeding
from qat.training.feeding import steps_per_epoch, training_batches, validation_batches


def pictures(samples=50):
    """uint8 images whose first pixel is the number of the sample, so that a batch says what it holds."""
    raw = np.random.default_rng(3).integers(0, 256, (samples, 8, 8, 1), dtype=np.uint8)
    raw[:, 0, 0, 0] = np.arange(samples)
    labels = np.arange(samples) % 4
    return Split("train", labels, Contract((8, 8, 1), range=(-1.0, 1.0)), raw, np.arange(samples))


def epoch(dataset):
    return [(inputs.numpy(), targets.numpy()) for inputs, targets in dataset]


def numbers(batches):
    """Which samples the batches hold, read back from the first pixel."""
    pixels = np.concatenate([inputs[:, 0, 0, 0] for inputs, _ in batches])
    return np.round((pixels + 1) * 127.5).astype(int)


def test_an_epoch_shows_each_sample_at_most_once_in_full_batches_only():
    batches = epoch(training_batches(pictures(), 8, task="classification", seed=0))
    assert [len(inputs) for inputs, _ in batches] == [8] * steps_per_epoch(50, 8) == [8] * 6
    assert len(set(numbers(batches))) == 48


def test_inputs_and_labels_are_those_of_the_split():
    split = pictures()
    for inputs, targets in epoch(training_batches(split, 8, task="classification", seed=0)):
        indices_of_batch = numbers([(inputs, targets)])
        np.testing.assert_array_equal(inputs, split.inputs(indices_of_batch))
        np.testing.assert_array_equal(targets, split.labels[indices_of_batch])


def test_the_order_is_another_one_each_epoch_and_the_same_for_the_same_seed():
    first, again, other = (training_batches(pictures(), 8, task="classification", seed=seed) for seed in (0, 0, 1))
    orders = [numbers(epoch(dataset)).tolist() for dataset in (first, first, again, again, other)]
    assert orders[0] == orders[2] != orders[1] == orders[3]
    assert orders[4] != orders[0]
    assert orders[0] != sorted(orders[0])


def test_over_epochs_no_sample_is_left_out():
    dataset = training_batches(pictures(), 16, task="classification", seed=0)
    assert {number for _ in range(6) for number in numbers(epoch(dataset))} == set(range(50))


def test_fewer_samples_than_a_batch_are_one_short_batch():
    batches = epoch(training_batches(pictures(5), 8, task="classification", seed=0))
    assert sorted(numbers(batches)) == list(range(5))


def test_what_does_not_fit_memory_is_streamed_and_gives_the_same_batches(monkeypatch):
    in_memory = epoch(training_batches(pictures(), 8, task="classification", seed=0))
    monkeypatch.setattr(feeding, "IN_MEMORY_BYTES", 100)
    requests = []
    inputs = Split.inputs
    monkeypatch.setattr(
        Split, "inputs", lambda split, indices=None: (requests.append(indices), inputs(split, indices))[1]
    )
    streamed = epoch(training_batches(pictures(), 8, task="classification", seed=0))
    assert {len(indices) for indices in requests} == {8}
    for (a, b), (c, d) in zip(in_memory, streamed, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_val_comes_whole_in_order_and_twice_the_same():
    dataset = validation_batches(pictures(), 16, task="classification")
    for _ in range(2):
        assert numbers(epoch(dataset)).tolist() == list(range(50))


def test_the_end_of_an_epoch_waits_for_no_tuner():
    training = training_batches(pictures(), 4, task="classification", seed=0)
    validation = validation_batches(pictures(), 4, task="classification")
    assert not training.options().autotune.enabled
    assert not validation.options().autotune.enabled


def test_an_autoencoder_is_shown_class_0_as_its_own_target():
    split = pictures()
    for dataset in (
        training_batches(split, 4, task="reconstruction", seed=0),
        validation_batches(split, 4, task="reconstruction"),
    ):
        batches = epoch(dataset)
        assert set(split.labels[numbers(batches)]) == {0}
        for inputs, targets in batches:
            np.testing.assert_array_equal(inputs, targets)


def test_augmentation_is_that_of_the_data_seeded_and_new_each_epoch():
    settings = AugmentationConfig(flip=True, shift_pixels=2)
    split, knobs = pictures(), {"task": "classification", "seed": 7}
    plain = training_batches(split, 8, **knobs)
    augmented, again = (training_batches(split, 8, augmentation=settings, **knobs) for _ in range(2))
    for number in range(2):
        pairs = zip(epoch(plain), epoch(augmented), epoch(again), strict=True)
        for step, ((before, _), (after, _), (after_again, _)) in enumerate(pairs):
            generator = np.random.default_rng([7, number * 6 + step])
            np.testing.assert_array_equal(after, augment(before, settings, generator))
            np.testing.assert_array_equal(after, after_again)
            assert not np.array_equal(before, after)


@pytest.mark.parametrize("settings", [None, AugmentationConfig()])
def test_without_augmentation_nothing_is_changed(settings):
    batches = epoch(training_batches(pictures(), 8, task="classification", seed=0, augmentation=settings))
    assert len(set(numbers(batches))) == 48
