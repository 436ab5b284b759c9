"""The files that are written op by op are those that TensorFlow's converter made."""

import pytest

from .zoo import CASES
from .zoo.both_writers import compare

SAMPLE = ("unet", "lstm", "masked_attention", "linear_attention", "random_0")


@pytest.mark.parametrize("case", SAMPLE)
def test_both_files_have_equal_codes_and_ours_no_more_ops(case):
    row = compare(case)
    assert row.is_good, row


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_case_of_the_zoo_has_equal_codes_and_no_more_ops(case):
    row = compare(case)
    assert row.is_good, row
