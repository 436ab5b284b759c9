"""Layers and networks of Keras 3 from the tables: each becomes a verified file, or is refused with a reason."""

import pytest

from ..keras3_examples import EXAMPLES
from ..keras3_layers import CASES, outcome
from ..keras3_more_examples import MORE_EXAMPLES

REFUSED = {
    *("AveragePooling3D", "Conv3D", "Conv3DTranspose", "ConvLSTM3D", "MaxPooling3D"),  # volumes
    *("Discretization", "HashedCrossing", "Hashing", "IntegerLookup"),  # tables
    *("MelSpectrogram", "ops.sin"),
}
EVERY = CASES | EXAMPLES | MORE_EXAMPLES
QUICK = {"Attention", "CategoryEncoding", "Conv2D", "Discretization", "GroupNormalization", "RandomFlip", "recommender"}


@pytest.mark.medium
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in EVERY]
)
def test_each_works_or_is_refused_with_a_reason(name):
    found = outcome(EVERY[name])
    assert found.word == ("refused" if name in REFUSED else "works"), found.reason
    assert name not in REFUSED or "layer" in found.reason
