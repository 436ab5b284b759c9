"""Inputs of another sample, moved within the sample, or of no sample at all. NumPy alone."""

import numpy as np
import pytest

from qat.diagnosis.hypotheses.other_samples import (
    are_unrelated,
    find_carried_state,
    find_few_values,
    find_moved,
    find_no_samples,
    find_stale_inputs,
)
from qat.diagnosis.hypotheses.preprocessing import list_parts
from qat.diagnosis.relation import relate

RANDOM = np.random.default_rng(0)
SCENES = RANDOM.normal(0, 1, (60, 3, 4, 3)).repeat(4, axis=1).repeat(4, axis=2) + RANDOM.normal(0, 1, (60, 1, 1, 1))
IMAGES = (SCENES + RANDOM.normal(0, 0.2, SCENES.shape)).astype(np.float32)  # [60, 12, 16, 3]
FEATURES = (RANDOM.normal(0, 1, (60, 20, 6)).cumsum(axis=1) * np.float32([9, 1, 1, 2, 1, 3])).astype(np.float32)
NOISE = RANDOM.uniform(-1, 1, IMAGES.shape).astype(np.float32)


def ids(user, right, features):
    return [each.id for each in list_parts(relate(user, right), user, right, rescales_inside=False, features=features)]


def test_noise_is_no_crop_and_a_crop_is_no_noise():
    assert are_unrelated(NOISE, IMAGES)
    assert ids(NOISE, IMAGES, False) == ["P10"]
    cropped = IMAGES[:, 3:9, 4:12].repeat(2, axis=1).repeat(2, axis=2)
    assert not are_unrelated(cropped, IMAGES)
    assert ids(cropped, IMAGES, False) == ["P09"]
    assert are_unrelated(NOISE[:8], IMAGES[:8])
    assert not are_unrelated(cropped[:8], IMAGES[:8])


@pytest.mark.parametrize(
    ("user", "said"),
    [
        (np.full_like(IMAGES, -1), "the number -1 throughout"),
        (np.broadcast_to(IMAGES.mean(axis=(1, 2, 3), keepdims=True), IMAGES.shape), "one number, another for each"),
        (np.broadcast_to(NOISE[:1], IMAGES.shape), "one and the same for all 60 samples, and that of none"),
    ],
)
def test_a_camera_that_is_dead_is_no_stale_output_and_no_scale(user, said):
    assert find_stale_inputs(user, IMAGES) is None
    found = find_no_samples(user, IMAGES, False)
    assert (found.id, said in found.evidence) == ("P10", True)
    assert find_no_samples(user, IMAGES, True).id == "P13"
    assert find_no_samples(IMAGES, IMAGES, False) is None


@pytest.mark.parametrize(
    ("user", "cause"),
    [
        (np.roll(IMAGES, 1, axis=0), "O05"),
        (np.broadcast_to(IMAGES[7:8], IMAGES.shape), "O05"),
        (IMAGES[RANDOM.permutation(60)], "E01"),
        (IMAGES / 255, None),
        (NOISE, None),
        (IMAGES[::-1] * 2, None),
    ],
)
def test_inputs_of_other_samples_are_told(user, cause):
    found = find_stale_inputs(user, IMAGES)
    assert (found and found.id) == cause


def test_a_threshold_is_no_other_range():
    assert find_few_values((IMAGES > 0).astype(np.float32), IMAGES, False).id == "P10"
    assert find_few_values(np.zeros_like(IMAGES), IMAGES, False) is None
    assert find_few_values(IMAGES, IMAGES, False) is None


def cut(values):
    return np.concatenate(
        [values[:, :11], np.broadcast_to(np.float32([1, 2, 3, 4, 5, 6]), values[:, 11:].shape)], axis=1
    )


@pytest.mark.parametrize(
    ("right", "change", "said"),
    [
        (FEATURES, lambda x: np.roll(x, 5, axis=1), "moved by +5 along axis 1"),
        (IMAGES, lambda x: np.roll(x, (2, -3), axis=(1, 2)), "moved by +2 along axis 1 and -3 along axis 2"),
        (FEATURES, cut, "positions 0 to 10 are right, the other 9 of 20"),
        (FEATURES[:, :, 0], lambda x: np.roll(x, -4, axis=1), "moved by -4 along axis 1"),
        (FEATURES[:, 3], lambda x: x[:, [1, 0, 2, 3, 5, 4]], "0 holds 1, 1 holds 0, 4 holds 5"),
        (
            FEATURES[:, 3],
            lambda x: x[:, [1, 0, 2, 3, 4, 5]] * np.float32([1, 9, 2, 2, 3, 4]) + 1,
            "0 holds 1, 1 holds 0",
        ),
    ],
)
def test_right_inputs_at_other_places_are_told(right, change, said):
    features = right.ndim < 4
    found = find_moved(change(right), right, features)
    assert (found.id, said in found.evidence) == ("P13" if features else "P09", True)
    assert find_moved(right, right, features) is None
    assert find_moved(RANDOM.normal(size=right.shape).astype(np.float32), right, features) is None


def test_each_feature_may_have_a_scale_of_its_own_and_time_may_run_backwards():
    (scaled,) = list_parts(
        relate(FEATURES * np.float32([9, 1, 4, 2, 7, 3]) + 1, FEATURES), FEATURES * 9, FEATURES, rescales_inside=False,
        features=True,
    )  # fmt: skip
    assert (scaled.id, "(1 to 9, by the feature) * right" in scaled.evidence) == ("P13", True)
    (backwards,) = list_parts(
        relate(FEATURES[:, ::-1], FEATURES), FEATURES[:, ::-1], FEATURES, rescales_inside=False, features=True
    )
    assert (backwards.id, "in reverse order along axis 1" in backwards.evidence) == ("P13", True)


def test_a_state_that_is_carried_from_call_to_call_is_no_feature():
    right, rng = np.zeros((20, 8), np.float32), np.random.default_rng(0)
    carried = np.concatenate([right[:1], rng.normal(size=(19, 8))]).astype(np.float32)
    assert find_carried_state(carried, right).id == "O06"
    assert find_carried_state(carried + 1, right) is None
    assert find_carried_state(carried, rng.normal(size=(20, 8)).astype(np.float32)) is None
