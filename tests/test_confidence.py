"""Our statistics for small samples against SciPy, which scikit-learn depends on, and against counting by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from qat.confidence import holm, mean_interval, paired_test, sign_flip_p, student_p, student_quantile


@pytest.mark.parametrize("degrees", [1, 2, 3, 9, 100])
def test_student_is_scipys(degrees):
    for t in (0.01, 0.7, 2.0, 12.0):
        assert student_p(t, degrees) == pytest.approx(2 * stats.t.sf(t, degrees), rel=1e-9)
    for share in (0.9, 0.95, 0.99):
        assert student_quantile(share, degrees) == pytest.approx(stats.t.ppf((1 + share) / 2, degrees), rel=1e-9)


def test_the_interval_of_few_values_is_students_and_not_1_96_standard_errors():
    values = [0.981, 0.978, 0.992]
    result, expected = mean_interval(values), stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (result.mean - result.half_width, result.mean + result.half_width) == pytest.approx(expected)
    assert mean_interval([0.5]).half_width is None


def test_the_paired_test_is_scipys():
    first, second = np.array([0.97, 0.98, 0.96, 0.99]), np.array([0.96, 0.975, 0.962, 0.97])
    assert paired_test(list(first - second)).p_t == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_sign_flips_are_counted_one_by_one():
    differences = [0.3, -0.1, 0.2, 0.4]
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=4)
    ]
    assert sign_flip_p(differences) == np.mean(np.array(sums) >= abs(sum(differences)) - 1e-12)


def test_differences_that_do_not_vary_have_no_t_and_few_pairs_prove_nothing():
    same = paired_test([0.01, 0.01, 0.01])
    assert (same.p_t, same.p_signs, same.p) == (None, 0.25, 0.25)
    assert paired_test([0.01]).p is None
    assert paired_test([0.001 * n for n in range(1, 30)]).p_signs is None


def test_holm_is_the_stepwise_correction():
    assert holm([0.04, 0.01, None, 0.03]) == [0.06, 0.03, None, 0.06]


def test_nothing_and_nan_have_no_mean():
    with pytest.raises(ValueError, match="expected at least one number, all of them finite"):
        mean_interval([])
    with pytest.raises(ValueError, match="nan"):
        mean_interval([float("nan")])
