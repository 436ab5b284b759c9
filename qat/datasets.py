"""Read the arrays of a `tf.data.Dataset`, by Keras' conventions. No TensorFlow here.

A data set yields inputs, `(inputs, labels)` or `(inputs, labels, weights)`, in batches or one sample at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qat.errors import DataError

BATCH_SIZE = 256
INFINITE = -1  # tf.data.INFINITE_CARDINALITY


class Dataset(Protocol):
    """What is used of a `tf.data.Dataset`."""

    element_spec: Any

    def cardinality(self) -> Any: ...

    def as_numpy_iterator(self) -> Iterator[Any]: ...

    def map(self, function: Callable[..., Any]) -> Dataset: ...

    def batch(self, batch_size: int) -> Dataset: ...


def is_dataset(value: object) -> TypeGuard[Dataset]:
    """Whether a value is a `tf.data.Dataset`, by its attributes."""
    return all(hasattr(value, name) for name in ("element_spec", "cardinality", "as_numpy_iterator"))


def inputs_of(dataset: Dataset, ranks: int | Mapping[str, int], inputs: int = 1) -> Any:
    """The same data set without its labels, in batches.

    Args:
        dataset: a `tf.data.Dataset`.
        ranks: rank of one sample, without the batch axis: of the first input, or of each input by name.
        inputs: number of the model's inputs; with two of them a pair is not read as (inputs, labels).

    Returns:
        A `tf.data.Dataset` of batches: each an array [n, ...], or a list or dict of them for several inputs.
    """
    spec = dataset.element_spec
    if isinstance(spec, tuple) and len(spec) <= 3 and (len(spec) != inputs or _is_nested(spec[0])):
        dataset = dataset.map(lambda *parts: parts[0])
    first = dataset.element_spec
    while _is_nested(first):
        name, first = next(iter(first.items() if isinstance(first, Mapping) else enumerate(first)))
        ranks = ranks[name] if isinstance(ranks, Mapping) and name in ranks else ranks
    sample_rank = next(iter(ranks.values())) if isinstance(ranks, Mapping) else ranks
    return dataset.batch(BATCH_SIZE) if first.shape.rank == sample_rank else dataset


def input_arrays(dataset: Dataset, ranks: int | Mapping[str, int], inputs: int, where: str) -> Any:
    """Read all inputs of a data set, without labels.

    Args:
        dataset: a `tf.data.Dataset`.
        ranks: rank of one sample, without the batch axis: of the first input, or of each input by name.
        inputs: number of the model's inputs; with two of them a pair is not read as (inputs, labels).
        where: the data set's name, as "calibration", for messages.

    Returns:
        One array [N, ...]; a dict or list of arrays for several inputs.

    Raises:
        DataError: it yields nothing, or repeats for ever.
    """
    _refuse_endless(dataset, where)
    return _concatenate(_read_all(inputs_of(dataset, ranks, inputs), where))


def labelled_arrays(dataset: Dataset, where: str) -> tuple[Any, NDArray]:
    """Read all inputs and labels of a data set.

    Unbatched one-hot labels as long as a sample's first axis look like a batch of labels: batch such a set first.

    Args:
        dataset: a `tf.data.Dataset` that yields (inputs, labels) or (inputs, labels, weights).
        where: the data set's name, as "x", for messages.

    Returns:
        One array [N, ...], or a dict or list of arrays for several inputs; and the labels, [N] or [N, ...].

    Raises:
        DataError: it yields no labels, nothing, or repeats for ever.
    """
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or _is_nested(spec[1]):
        raise DataError.about(
            where, f": a data set without labels; expected one that yields (inputs, labels){_pair_of(spec)}"
        )
    _refuse_endless(dataset, where)
    inputs, labels = _first_spec(spec[0]).shape, spec[1].shape
    if labels.rank == 0 or (labels.rank is not None and inputs[0] != labels[0]):
        dataset = dataset.batch(BATCH_SIZE)
    batches = _read_all(dataset, where)
    return _concatenate([each[0] for each in batches]), np.concatenate([np.asarray(each[1]) for each in batches])


def inputs_and_labels(x: Any, y: Any) -> tuple[Any, Any]:
    """Read a data set that holds both; arrays are passed on.

    Args:
        x: model inputs: an array [N, ...], a list or a dict of them; or a `tf.data.Dataset` that yields (inputs,
            labels).
        y: labels, [N] or [N, ...]; None where `x` is a data set.

    Returns:
        Inputs and labels: of a data set as `labelled_arrays` gives them, else `x` and `y` unchanged and unchecked.

    Raises:
        DataError: labels given with a data set, or a generator, which may never end.
    """
    if is_dataset(x):
        if y is not None:
            raise DataError("x is a data set that yields (inputs, labels): leave y out")
        return labelled_arrays(x, "x")
    if isinstance(x, Iterator):
        raise DataError(
            f"x is a {type(x).__name__}, which may never end: give arrays, x and y, or a tf.data.Dataset that yields "
            "(inputs, labels)"
        )
    return x, y


def _pair_of(spec: Any) -> str:
    """Code that turns a row with names, as many collections of data yield it, into a pair."""
    if not isinstance(spec, Mapping) or len(spec) < 2:
        return ""
    names = [name for name in spec if "label" in str(name).lower() or str(name) in ("y", "class", "target")]
    labels = names[0] if names else list(spec)[-1]
    inputs = next(name for name in spec if name != labels)
    return f", as dataset.map(lambda row: (row[{inputs!r}], row[{labels!r}]))"


def _refuse_endless(dataset: Dataset, where: str) -> None:
    if int(dataset.cardinality()) == INFINITE:
        raise DataError.about(where, ": a data set that repeats for ever. Say how many batches, as in dataset.take(32)")


def _read_all(dataset: Dataset, where: str) -> list[Any]:
    batches = list(dataset.as_numpy_iterator())
    if not batches:
        raise DataError.about(where, ": a data set that yields nothing")
    return batches


def class_labels(y: ArrayLike | None, samples: int, classes: int | None = None) -> NDArray[np.int64]:
    """Check labels and convert them to class indices.

    Args:
        y: class indices, [N] or [N, 1], or one-hot, [N, classes].
        samples: N, how many labels there must be.
        classes: number of the model's classes; None accepts any class.

    Returns:
        Class indices, int64 [N].

    Raises:
        DataError: None, another shape, fractions, not one label per sample, or a class that the model does not have.

    >>> class_labels([[0, 1], [1, 0]], 2).tolist()
    [1, 0]
    """
    if y is None:
        raise DataError("labels are missing: give y, the class of each sample as an integer, [N]")
    labels = np.asarray(y)
    if _is_one_hot(labels):
        labels = labels.argmax(axis=1)
    if _is_multi_hot(labels):
        raise DataError(f"labels have shape {list(labels.shape)}: {explain_columns(labels)}")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "fiub" or (labels != np.trunc(labels)).any():
        raise DataError(
            f"labels are {labels.dtype}{list(labels.shape)}: expected the class of each sample as an integer, [N], "
            "or one-hot, [N, classes]; classifiers of one output are scored, of others compare predictions with y"
        )
    if len(labels) != samples or samples == 0:
        raise DataError(f"{len(labels)} labels for {samples} samples: expected one each, and at least one")
    low, high = int(labels.min()), int(labels.max())
    if classes is not None and not 0 <= low <= high < max(classes, 2):
        raise DataError(
            f"labels go from {low} to {high}, but the model has {classes} output{'s' * (classes != 1)}: expected 0 to "
            f"{max(classes, 2) - 1}, numbered as in training"
        )
    return labels.astype(np.int64)


def explain_columns(labels: NDArray) -> str:
    """What to do with labels that have several columns, where the class of each sample is expected.

    >>> explain_columns(np.eye(3))
    'expected [N]; one-hot labels become that by labels.argmax(axis=1)'
    >>> explain_columns(np.array([[0, 1], [1, 1]])).partition(".")[0]
    'several classes in one row, or none, the first in row 1: labels of this kind (multi-label) are not supported'

    Args:
        labels: an array of another shape than [N] and [N, 1].

    Returns:
        What they are, as far as it shows, and what is expected.
    """
    if _is_one_hot(labels):
        return "expected [N]; one-hot labels become that by labels.argmax(axis=1)"
    if _is_multi_hot(labels):
        row = int(np.argmax(labels.astype(np.float64).sum(axis=1) != 1))
        return (
            f"several classes in one row, or none, the first in row {row}: labels of this kind (multi-label) are not "
            "supported. Expected one class per sample as an integer, [N]; qat.quantization.quantize_model and "
            "qat.tflite.convert take models of any task"
        )
    return "expected [N], the class of each sample as an integer"


def _is_one_hot(labels: NDArray) -> bool:
    return _has_flags(labels) and bool((labels.astype(np.float64).sum(axis=1) == 1).all())


def _is_multi_hot(labels: NDArray) -> bool:
    return _has_flags(labels) and not _is_one_hot(labels)


def _has_flags(labels: NDArray) -> bool:
    """Whether each row has a 0 or a 1 for each of several classes."""
    has_columns = labels.ndim == 2 and min(labels.shape) > 0 and labels.shape[1] > 1
    return has_columns and labels.dtype.kind in "biuf" and bool(np.isin(labels, (0, 1)).all())


def _is_nested(spec: object) -> bool:
    return isinstance(spec, (tuple, list, Mapping))


def _first_spec(spec: Any) -> Any:
    while _is_nested(spec):
        spec = next(iter(spec.values() if isinstance(spec, Mapping) else spec))
    return spec


def _concatenate(batches: list[Any]) -> Any:
    if isinstance(batches[0], Mapping):
        return {name: _concatenate([batch[name] for batch in batches]) for name in batches[0]}
    if isinstance(batches[0], (tuple, list)):
        return [_concatenate(list(parts)) for parts in zip(*batches, strict=True)]
    return np.concatenate([np.asarray(batch) for batch in batches])
