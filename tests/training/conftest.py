"""Small separable data and the smallest models that can learn it. `qat` comes before TensorFlow in every file here."""

import numpy as np
import pytest

from qat.contract import Contract
from qat.data import Split


def features(samples, seed, classes=3, name="train"):
    """Points around the corners of a simplex: class k has its k-th feature raised."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, samples)
    points = generator.normal(0, 0.3, (samples, 6)).astype(np.float32)
    points[np.arange(samples), labels] += 2
    contract = Contract((6,), layout="features", raw_dtype="float32")
    return Split(name, labels.astype(np.int64), contract, points, np.arange(samples))


@pytest.fixture(scope="session")
def train():
    return features(200, 0)


@pytest.fixture(scope="session")
def val():
    return features(60, 1, name="val")
