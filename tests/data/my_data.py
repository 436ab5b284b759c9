"""Functions as a user would write them for `data=user`."""

from dataclasses import replace

import numpy as np

from qat.config import DataConfig
from qat.data import load


def blobs(samples):
    labels = np.arange(samples) % 3
    return (labels[:, None] + np.linspace(0, 0.1, 4)).astype(np.float32), labels


def pair(samples=60):
    return blobs(samples)


def two_pairs(samples=60):
    return blobs(samples), blobs(30)


def dictionary(samples=60):
    x, y = blobs(samples)
    return {"x_train": x, "y_train": y, "x_test": x[:9], "y_test": y[:9], "class_names": ["a", "b", "c"]}


def as_splits():
    return load(DataConfig(name="digits"), 10, 0)


def splits_with_labels(kind):
    splits = as_splits()
    labels = {"columns": np.eye(10, dtype=int)[splits.val.labels], "outside": splits.val.labels + 1}[kind]
    return replace(splits, val=replace(splits.val, labels=labels))


def ragged():
    return [[1.0], [1.0, 2.0]], [0, 1]


def nothing():
    return None


def failing():
    raise KeyError("no such table")


def datasets(kind, batch=None):
    import tensorflow as tf

    def make(samples):
        dataset = tf.data.Dataset.from_tensor_slices(blobs(samples))
        return dataset if batch is None else dataset.batch(batch)

    train, val, test = make(60), make(12), make(30)
    if kind == "rows":
        return train.map(lambda x, y: {"image": x, "label": y})
    if kind == "unknown":
        return {"train": train, "dev": val}
    return {
        "one": train,
        "two": (train, test),
        "three": [train, val, test],
        "named": {"train": train, "test": test, "class_names": ["a", "b", "c"]},
        "validation": {"train": train, "validation": val, "test": test},
    }[kind]
