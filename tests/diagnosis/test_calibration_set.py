"""What a representative dataset really gives: collected once, judged by its numbers. NumPy alone."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from qat.codes import QuantParams
from qat.diagnosis.calibration_set import AT_MOST, collected, neighbour_correlation
from qat.diagnosis.hypotheses.calibration import constant

ROWS = np.arange(24, dtype=np.float32).reshape(6, 2, 2)


@pytest.mark.parametrize(
    "calibration",
    [ROWS, lambda: ([row[None]] for row in ROWS), lambda: ({"x": row[None]} for row in ROWS), [ROWS[:4], ROWS[4:]]],
)
def test_samples_are_the_same_however_they_come(calibration):
    found = collected(calibration)
    assert (found.count, found.distinct, found.usable) == (6, 6, True)
    assert np.array_equal(found.arrays[0], ROWS)


def test_a_generator_that_ends_for_good_is_told_from_one_that_begins_again():
    once = iter([[row[None]] for row in ROWS])
    assert collected(lambda: once).exhausted
    assert not collected(lambda: ([row[None]] for row in ROWS)).exhausted


def test_an_endless_one_is_cut_off_and_one_that_fails_says_why():
    assert collected(lambda: ([ROWS[:1]] for _ in itertools.count())).count == AT_MOST

    def fails():
        raise KeyError("images")
        yield

    assert "it raises KeyError" in collected(fails).problem
    assert "neither callable nor iterable" in collected(7).problem
    assert collected(None) is None
    assert not collected(np.full((3, 2), np.nan)).usable


def test_neighbours_of_a_photograph_are_alike_and_those_of_noise_are_not():
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(8, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    assert neighbour_correlation(smooth) > 0.6
    assert abs(neighbour_correlation(rng.normal(size=(8, 16, 16, 3)))) < 0.1
    assert neighbour_correlation(rng.normal(size=(8, 16))) is None


@pytest.mark.parametrize(("scale", "trained", "ids"), [(1e-9, False, ["Q08"]), (0.004, False, []), (3.9e-9, True, [])])
def test_a_scale_that_only_zeros_leave_is_named(scale, trained, ids):
    """But for the one that an untrained fake quantization leaves."""
    params = QuantParams.make(scale, 0, "int8")
    graph = SimpleNamespace(inputs=[SimpleNamespace(name="image:0")])
    facts = SimpleNamespace(input_params=[params], graph=graph, trained_quantized=trained)
    assert [each.id for each in constant(facts)] == ids
