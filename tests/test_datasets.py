"""A tf.data.Dataset gives what the arrays give from which it was made, in batches or not, with labels or without."""

import numpy as np
import pytest
import tensorflow as tf

from qat.calibration_data import InputSpec, as_batches
from qat.datasets import class_labels, input_arrays, labelled_arrays
from qat.errors import CalibrationError, DataError

X = np.random.default_rng(0).normal(size=(120, 4, 4, 1)).astype(np.float32)
IDS = np.arange(120, dtype=np.int32)[:, None]
Y = np.arange(120) % 3
ONE_HOT = np.eye(3, dtype=np.float32)[Y]
IMAGE = [InputSpec("image", (4, 4, 1), "float32")]
PAIR = [InputSpec("image", (4, 4, 1), "float32"), InputSpec("ids", (1,), "int32")]


def sliced(*parts):
    return tf.data.Dataset.from_tensor_slices(parts[0] if len(parts) == 1 else parts)


@pytest.mark.parametrize("parts", [(X,), (X, Y), (X, ONE_HOT), (X, Y, Y)], ids=["x", "x, y", "one-hot", "weights"])
@pytest.mark.parametrize("size", [None, 50])
def test_calibration_takes_the_inputs(parts, size):
    dataset = sliced(*parts) if size is None else sliced(*parts).batch(size)
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in as_batches(dataset, IMAGE)]), X)


@pytest.mark.parametrize(
    "inputs", [({"image": X, "ids": IDS}, Y), ({"ids": IDS, "image": X}, Y), ((X, IDS), Y), (X, IDS)]
)
@pytest.mark.parametrize("size", [None, 50])
def test_calibration_takes_several_inputs(inputs, size):
    dataset = tf.data.Dataset.from_tensor_slices(inputs)
    batches = as_batches(dataset if size is None else dataset.batch(size), PAIR)
    for index, expected in enumerate((X, IDS)):
        np.testing.assert_array_equal(np.concatenate([batch[index] for batch in batches]), expected)


def test_a_labelled_set_without_an_end_is_refused():
    with pytest.raises(CalibrationError, match=r"repeats for ever.*dataset\.take\(32\)"):
        as_batches(sliced(X, Y).batch(32).repeat(), IMAGE)
    with pytest.raises(DataError, match=r"x: a data set that repeats for ever.*dataset\.take\(32\)"):
        labelled_arrays(sliced(X, Y).repeat(), "x")
    assert len(labelled_arrays(sliced(X, Y).batch(32).repeat().take(32), "x")[1]) > 900


@pytest.mark.parametrize("size", [None, 50])
def test_inputs_come_without_their_labels(size):
    dataset = sliced({"image": X, "ids": IDS}, Y)
    arrays = input_arrays(dataset if size is None else dataset.batch(size), {"image": 3, "ids": 1}, 2, "inputs")
    np.testing.assert_array_equal(arrays["image"], X)
    np.testing.assert_array_equal(arrays["ids"], IDS)
    with pytest.raises(DataError, match="inputs: a data set that repeats for ever"):
        input_arrays(sliced(X).repeat(), 3, 1, "inputs")


@pytest.mark.parametrize("labels", [Y, ONE_HOT, Y[:, None]], ids=["whole", "one-hot", "column"])
@pytest.mark.parametrize("size", [None, 50])
def test_labels_come_with_their_inputs(labels, size):
    dataset = sliced(X, labels) if size is None else sliced(X, labels).batch(size)
    x, y = labelled_arrays(dataset, "x")
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(class_labels(y, len(x)), Y)


@pytest.mark.parametrize(
    ("dataset", "message"), [(sliced(X), "expected one that yields"), (sliced(X[:0], Y[:0]), "yields nothing")]
)
def test_what_cannot_be_scored_is_refused(dataset, message):
    with pytest.raises(DataError, match=message):
        labelled_arrays(dataset, "x")


@pytest.mark.parametrize(
    ("labels", "message"), [(Y[:9], "9 labels for 120"), (Y + 0.5, "as an integer"), (X[..., 0], "one-hot")]
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        class_labels(labels, 120)
