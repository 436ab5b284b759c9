"""A calibration sample that takes the codes of all others is named; data that is merely sparse or wide is not."""

import warnings

import numpy as np
import pytest

from qat.calibration_data import InputSpec, as_batches
from qat.quantization.outliers import warn_of_outliers

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, 6)).astype(np.float32)
SPARSE = (RNG.random((200, 50)) < 0.01).astype(np.float32)
WIDE = np.exp(RNG.normal(size=(200, 6))).astype(np.float32)
SPECS = [InputSpec("x", (None,), "float32")]


def test_a_sample_far_beyond_the_others_is_named():
    spoiled = ROWS.copy()
    spoiled[[70, 150], 2] = 4000, -900
    with pytest.warns(
        UserWarning, match=r"sample 70 and 1 more .* for 'x' reaches 4000, and 95% .*Leave out such samples"
    ):
        warn_of_outliers(as_batches(spoiled, SPECS), SPECS)


@pytest.mark.parametrize("rows", [ROWS, SPARSE, WIDE], ids=["normal", "sparse", "wide"])
def test_usual_data_passes_in_silence(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_outliers(as_batches(rows, SPECS), SPECS)


def test_ids_are_no_sizes():
    ids = np.ones((200, 4), np.int32)
    ids[3] = 30_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_outliers(as_batches(ids, [InputSpec("ids", (4,), "int32")]), [InputSpec("ids", (4,), "int32")])
