"""What was written into an input is named by the codes that each mistake leaves. NumPy alone."""

from dataclasses import replace

import numpy as np
import pytest

from qat.diagnosis.hypotheses.feeding import FedInput, is_right, reproduce_codes
from qat.diagnosis.runs import to_codes
from qat.tflite.graph import Tensor

REAL = np.random.default_rng(0).uniform(-6, 6, (20, 8)).astype(np.float32)
CODES = Tensor(0, "x", (1, 8), (-1, 8), "int8", (0.0487,), (3,), 0, False)
PIXELS = np.random.default_rng(1).uniform(0, 1, (20, 8)).astype(np.float32)
UNIT = replace(CODES, scales=(1 / 255,), zero_points=(-128,))
FLOATS = replace(CODES, dtype="float32", scales=(), zero_points=())


@pytest.mark.parametrize(
    ("cause", "tensor", "fed"),
    [
        ("I01", CODES, REAL.astype(np.int8)),
        ("I03", CODES, to_codes(REAL, replace(CODES, zero_points=(0,)))),
        ("I04", CODES, to_codes(REAL, CODES) ^ np.int8(-128)),
        ("I05", CODES, to_codes(np.trunc(REAL), CODES)),
        ("I05", FLOATS, np.trunc(REAL)),
        ("I06", FLOATS, REAL.byteswap()),
        ("P03", UNIT, to_codes(PIXELS / 255, UNIT)),
    ],
)
def test_what_was_fed_is_named(cause, tensor, fed):
    assert reproduce_codes(FedInput(fed, tensor, PIXELS if tensor is UNIT else REAL, None, None)).id == cause


@pytest.mark.parametrize("tensor", [CODES, FLOATS])
def test_right_values_are_no_fault(tensor):
    fed = FedInput(to_codes(REAL, tensor), tensor, REAL, None, None)
    assert is_right(fed)
    whole = replace(fed, intended=np.trunc(REAL), fed=to_codes(np.trunc(REAL), tensor))
    assert is_right(whole)
