"""Each fault of an app's preprocessing is named by how its inputs follow from the right ones. NumPy alone."""

import numpy as np
import pytest

from qat.diagnosis.hypotheses.preprocessing import (
    are_near,
    describe_image_scaling,
    describe_wrong_metadata,
    list_parts,
)
from qat.diagnosis.relation import is_scaled_per_image, relate


@pytest.fixture(scope="module")
def pixels():
    """uint8 [24, 12, 12, 3]: smooth scenes, of other colours each, that fill 0..255."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (24, 4, 4, 3)).repeat(3, axis=1).repeat(3, axis=2)
    images = np.clip(coarse + rng.normal(0, 12, coarse.shape), 0, 255)
    images[:, 0, 0], images[:, 0, 1] = 0, 255
    return images.astype(np.uint8)


def unit(x):
    return x.astype(np.float32) / 255


def ids(right, user, **more):
    return [each.id for each in list_parts(relate(user, right), user, right, rescales_inside=False, **more)]


WRONG = {
    "raw pixels": ("P01", lambda x: x.astype(np.float32)),
    "[-1, 1] in place of [0, 1]": ("P02", lambda x: unit(x) * 2 - 1),
    "divided twice": ("P03", lambda x: unit(x) / 255),
    "a shift": ("P04", lambda x: unit(x) * 0.5 + 0.3),
    "a factor per channel": ("P04", lambda x: unit(x) * np.float32([1, 0.5, 0.3])),
    "scaled by each image's own factor": (
        "P05",
        lambda x: unit(x) * np.linspace(0.3, 1.5, len(x))[:, None, None, None],
    ),
    "BGR": ("P06", lambda x: unit(x)[..., ::-1]),
    "channels first": ("P07", lambda x: np.ascontiguousarray(unit(x).transpose(0, 3, 1, 2)).reshape(x.shape)),
    "upside down": ("P08", lambda x: unit(x)[:, ::-1]),
    "turned": ("P08", lambda x: np.rot90(unit(x), 1, (1, 2))),
    "another crop": ("P09", lambda x: np.roll(unit(x), 1, axis=2)),
    "noise of decoding": ("P10", lambda x: unit(x) + np.random.default_rng(1).normal(0, 0.02, x.shape)),
    "other colours": ("P10", lambda x: (unit(x) @ [0.3, 0.6, 0.1])[..., None] * np.float32([1, -0.4, -0.3])),
    "inverted": ("P11", lambda x: 1 - unit(x)),
    "grey": ("P12", lambda x: np.repeat((unit(x) @ np.float32([0.299, 0.587, 0.114]))[..., None], 3, -1)),
}


@pytest.mark.parametrize(("cause", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_preprocessing_is_named(pixels, cause, wrong):
    assert ids(unit(pixels), wrong(pixels).astype(np.float32)) == [cause]


def test_the_right_preprocessing_is_no_fault_and_two_faults_are_two(pixels):
    assert ids(unit(pixels), unit(pixels)) == []
    assert ids(unit(pixels), (unit(pixels) * 2 - 1)[:, ::-1]) == ["P02", "P08"]


def test_features_that_are_nearly_right_are_features_of_another_kind_and_no_images(pixels):
    nearly = unit(pixels) + np.random.default_rng(1).normal(0, 0.05, pixels.shape).astype(np.float32)
    (found,) = list_parts(relate(nearly, unit(pixels)), nearly, unit(pixels), rescales_inside=False, features=True)
    assert found.id == "P13"
    assert "image" not in found.evidence


def test_the_fix_has_the_numbers_of_every_channel_and_no_term_that_is_nothing(pixels):
    (found,) = list_parts(
        relate(unit(pixels) * np.float32([63, 62, 66]), unit(pixels)),
        unit(pixels) * np.float32([63, 62, 66]),
        unit(pixels),
        rescales_inside=False,
    )
    assert found.fix.endswith(": x / [63, 62, 66]")


def test_features_are_no_pixels_and_a_model_that_scales_inside_says_so(pixels):
    assert ids(unit(pixels), pixels.astype(np.float32), features=True) == ["P13"]
    raw = pixels.astype(np.float32)
    (inside,) = list_parts(relate(raw / 255, raw), raw / 255, raw, rescales_inside=True)
    assert (inside.id, "scales its input itself" in inside.evidence) == ("P03", True)


def test_a_repair_takes_one_part_away_and_leaves_the_rest(pixels):
    right, user = unit(pixels), (unit(pixels) * 2 - 1)[:, ::-1]
    relation = relate(user, right)
    scaling, orientation = list_parts(relation, user, right, rescales_inside=False)
    np.testing.assert_allclose(scaling.repair(relation).apply(right), right[:, ::-1], atol=1e-4)
    np.testing.assert_allclose(orientation.repair(relation).apply(right), right * 2 - 1, atol=1e-4)


def test_what_depends_on_the_image_is_told_from_fixed_numbers(pixels):
    stretched = pixels * np.linspace(0.5, 2, len(pixels))[:, None, None, None]
    assert is_scaled_per_image(stretched, pixels, unit(pixels))
    assert not is_scaled_per_image(unit(pixels) * 3, pixels, unit(pixels))
    assert describe_image_scaling(stretched, pixels).id == "P05"


def test_ranges_are_near_where_their_ends_are_and_metadata_is_held_to_them():
    assert are_near((0, 0.95), (0, 1))
    assert not are_near((-1, 1), (0, 1))
    assert describe_wrong_metadata((-1, 1), (0, 1)).id == "P14"


def test_inputs_of_other_shapes_have_no_relation(pixels):
    with pytest.raises(ValueError, match="shapes differ"):
        relate(unit(pixels)[:, :4], unit(pixels))
