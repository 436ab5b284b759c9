"""Small data sets in a temporary folder, and the place of the real ones."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def arrays():
    """40 training and 20 test images of 4 classes, every image filled with its own label and index."""
    generator = np.random.default_rng(0)

    def part(samples):
        return generator.integers(0, 256, (samples, 6, 5, 3), dtype=np.uint8), np.arange(samples) % 4

    (x_train, y_train), (x_test, y_test) = part(40), part(20)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


@pytest.fixture
def save_npz(tmp_path):
    """save_npz(x=..., y=...) -> path, as a string."""

    def save(**arrays):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return str(path)

    return save


@pytest.fixture
def save_folder(tmp_path):
    """save_folder(cat=12, dog=8) -> path of one folder per class; image i of class c is filled with (10 i, c, 7)."""

    def save(root=tmp_path / "pictures", size=(8, 10), suffix="png", **classes):
        for label, (name, count) in enumerate(sorted(classes.items())):
            (root / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.full((*size, 3), (10 * i, label, 7), np.uint8)
                Image.fromarray(pixels).save(root / name / f"{i:03}.{suffix}")
        return root

    return save


@pytest.fixture(scope="session")
def real_data():
    """real_data("cifar10/cifar10.npz") -> its path, or a skip that says what is missing."""
    shared = Path(os.environ.get("QAT_SHARED", REPOSITORY.parent / "shared")) / "data"

    def find(name):
        if not (shared / name).is_file():
            pytest.skip(f"no {shared / name}; set QAT_SHARED to a folder with data/{name}")
        return str(shared / name)

    return find
