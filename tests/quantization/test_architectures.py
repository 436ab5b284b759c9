"""Networks as people write them, end to end: float function kept, file integer-only, its codes those of the
simulation, no farther from float than post-training quantization, names and nesting and training as before."""

import re

import numpy as np
import pytest

from .zoo import CASES
from .zoo.contract import broken_promises
from .zoo.departures import EXCEPTIONS
from .zoo.drawing import make, seed_of
from .zoo.measure import measure

QUICK = (
    "unet",
    "self_attention",
    "inputs_by_name_unsorted",
    "towers_absolute",
)
HALF_PRECISION = {"half_precision_policy": 1e-2}  # the float model itself computes in 16 bits
ALLOWED_LOSS_DB = 1.0


def marked(names):
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


@pytest.mark.medium
@pytest.mark.parametrize("name", marked(CASES))
def test_the_file_computes_what_was_trained(name):
    row = measure(make(name, CASES[name]), seed_of(name), with_ptq=name in QUICK)
    assert row.integer_only
    assert row.float_error <= HALF_PRECISION.get(name, 1e-4)
    assert row.exact == 1.0 or name in EXCEPTIONS, row.departs
    assert row.within_1_lsb >= 0.98
    assert row.largest_lsb <= 8
    if np.isfinite(row.ptq_sqnr_db):
        assert row.sqnr_db >= row.ptq_sqnr_db - ALLOWED_LOSS_DB


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if not re.match("activation_|average_pool|max_pool", name)])
def test_nesting_names_dtypes_training_and_saving_stay_as_they_were(name, tmp_path):
    assert broken_promises(make(name, CASES[name]), seed_of(name), tmp_path) == []


@pytest.mark.medium
def test_a_network_of_several_named_inputs_and_outputs_keeps_its_promises(tmp_path):
    name = "multi_task"
    assert broken_promises(make(name, CASES[name]), seed_of(name), tmp_path) == []
