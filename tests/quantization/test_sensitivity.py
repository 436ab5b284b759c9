"""A layer made bad on purpose, the float function unchanged, is ranked first, and is what is left in float."""

import numpy as np
import pytest

from qat.config import QuantConfig
from qat.errors import ConfigError
from qat.quantization.sensitivity import auto_skip, sensitivity

from .conftest import tiny_network

FACTOR = 300.0


def planted(network, factor):
    """One channel that nobody reads is `factor` times as large as it was: the range of that tensor is ruined, for
    every other channel."""
    norm, reader = network.get_layer("depthwise_bn"), network.get_layer("pointwise")
    scale, read = np.ones(8, np.float32), np.ones(8, np.float32)
    scale[2], read[2] = factor, 0
    norm.gamma.assign(norm.gamma * scale)
    norm.beta.assign((norm.beta + 0.5) * scale)
    reader.kernel.assign(reader.kernel * read[:, None])
    return network


@pytest.fixture
def spoiled(network):
    return planted(network, FACTOR)


def test_the_plant_leaves_the_float_function_alone(spoiled, images):
    whole = planted(tiny_network(), 1.0)
    np.testing.assert_allclose(
        spoiled.predict(images, verbose=0), whole.predict(images, verbose=0), rtol=1e-5, atol=1e-5
    )


def test_the_planted_layer_is_ranked_first(spoiled, images):
    rows = sensitivity(spoiled, images)
    assert rows[0].layer.startswith("depthwise")
    assert rows[0].sqnr_db < rows[1].sqnr_db - 10
    assert [row.sqnr_db for row in rows] == sorted(row.sqnr_db for row in rows)


def test_without_a_plant_no_layer_stands_out(tiny, images, labels):
    rows = sensitivity(tiny, images, labels=labels)
    assert min(row.sqnr_db for row in rows) > 25
    assert all(abs(row.accuracy_drop) < 0.1 for row in rows)


def test_auto_skip_leaves_the_planted_layer_in_float_and_no_other(spoiled, images):
    found = auto_skip(spoiled, images, max_drop=5.0)
    assert len(found) == 1
    assert found[0].startswith("depthwise")


def test_auto_skip_skips_nothing_where_nothing_is_wrong(tiny, images):
    assert auto_skip(tiny, images, max_drop=5.0, config=QuantConfig(name="qat")) == []


def test_a_bar_that_cannot_be_met_is_said(tiny, images):
    with pytest.raises(ConfigError, match=r"max_drop=-1: not met even with every layer in float"):
        auto_skip(tiny, images, max_drop=-1)
