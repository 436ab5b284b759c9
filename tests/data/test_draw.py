"""Stratified drawing, compared with counting."""

import numpy as np
import pytest

from qat.data.draw import draw

LABELS = np.array([0] * 50 + [1] * 30 + [2] * 19 + [3])


def counts(indices):
    return np.bincount(LABELS[indices], minlength=4).tolist()


@pytest.mark.parametrize("count", [0, 1, 7, 33, 99, 100])
def test_exactly_so_many_are_drawn_none_twice_and_no_class_is_off_its_share_by_one(count):
    indices = draw(LABELS, count, np.random.default_rng(1))
    assert len(indices) == len(set(indices.tolist())) == count
    assert np.all(np.abs(np.array(counts(indices)) - count * np.array([0.5, 0.3, 0.19, 0.01])) < 1)


def test_leaving_one_takes_no_class_whole():
    assert counts(draw(LABELS, 100, np.random.default_rng(1), leave_one=True)) == [49, 29, 18, 0]


def test_the_generator_alone_decides_which():
    first, repeated, other = (draw(LABELS, 20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, repeated)
    assert first.tolist() != other.tolist()
    assert counts(first) == counts(other)


def test_fewer_than_there_are_classes_does_not_always_take_the_first():
    labels = np.arange(10)
    selections = {tuple(draw(labels, 2, np.random.default_rng(seed)).tolist()) for seed in range(8)}
    assert len(selections) > 3


def test_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="count=101: expected 0 to 100"):
        draw(LABELS, 101, np.random.default_rng(0))
