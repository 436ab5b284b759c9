"""Samples as pictures: what the app feeds beside what it should feed, on one scale; nothing where it is not known."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from qat.diagnosis import diagnose
from qat.diagnosis.report import draw_samples

RIGHT = np.linspace(0, 1, 3 * 6 * 5 * 3, dtype=np.float32).reshape(3, 6, 5, 3)


def evidence(right, user):
    """What `draw_samples` reads of it where nothing was recorded."""
    case = SimpleNamespace(graph=SimpleNamespace(inputs=[]))
    return SimpleNamespace(right_inputs=right, user_inputs=user, fed=None, case=case)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_both_are_drawn_on_the_scale_of_the_right_inputs():
    found = draw_samples(evidence([RIGHT], [2 * RIGHT.reshape(3, -1)]))  # an app may feed them flat
    assert (found.low, found.high) == (0.0, 1.0)
    assert len(found.right) == len(found.fed) == 3
    np.testing.assert_array_equal(pixels(found.right[1]), np.round(255 * RIGHT[1]).astype(np.uint8))
    np.testing.assert_array_equal(pixels(found.fed[2]), np.full((6, 5, 3), 255))


@pytest.mark.parametrize(
    ("right", "user"),
    [(None, None), ([RIGHT], None), ([RIGHT[:, 0, 0]], [RIGHT[:, 0, 0]]), ([RIGHT], [RIGHT[:, :2]])],
    ids=["no data", "no app", "no image", "another shape that is no image"],
)
def test_no_pictures_where_there_is_nothing_to_show(right, user):
    assert draw_samples(evidence(right, user)) is None


def test_codes_that_were_fed_are_shown_as_the_numbers_that_they_stand_for(files, digits, measured):
    wrapped = digits.inputs.astype(np.int8)
    found = diagnose(files.int8, fed=wrapped, **measured)
    shown, right = pixels(found.samples.fed[0]), pixels(found.samples.right[0])
    np.testing.assert_allclose(right, digits.inputs[0], atol=1)
    np.testing.assert_allclose(shown, wrapped[0].astype(int) + 128, atol=2)
    assert "samples" not in found.to_dict()
