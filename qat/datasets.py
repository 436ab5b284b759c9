"""A `tf.data.Dataset` wherever arrays are taken: what it yields as arrays, by Keras' conventions. No TensorFlow here.

A data set yields inputs, `(inputs, labels)` or `(inputs, labels, weights)`, in batches or one sample at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.errors import DataError

BATCH_SIZE = 256
INFINITE = -1  # tf.data.INFINITE_CARDINALITY


def is_dataset(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("element_spec", "cardinality", "as_numpy_iterator"))


def inputs_of(dataset: Any, ranks: int | Mapping[str, int], inputs: int = 1) -> Any:
    """The same data set without its labels, in batches.

    Args:
        ranks: of one sample of the first input, or of each by name, without the batch.
        inputs: how many the model takes: a pair is no (inputs, labels) where it takes two.
    """
    spec = dataset.element_spec
    if isinstance(spec, tuple) and len(spec) <= 3 and (len(spec) != inputs or _is_nested(spec[0])):
        dataset = dataset.map(lambda *parts: parts[0])
    first = dataset.element_spec
    while _is_nested(first):
        name, first = next(iter(first.items() if isinstance(first, Mapping) else enumerate(first)))
        ranks = ranks[name] if isinstance(ranks, Mapping) and name in ranks else ranks
    wanted = next(iter(ranks.values())) if isinstance(ranks, Mapping) else ranks
    return dataset.batch(BATCH_SIZE) if first.shape.rank == wanted else dataset


def input_arrays(dataset: Any, ranks: int | Mapping[str, int], inputs: int, where: str) -> Any:
    """All inputs (an array; a dict or list of arrays for several), without labels; arguments as for `inputs_of`.

    Raises:
        DataError: it yields nothing, or repeats for ever; `where` names it.
    """
    _refuse_endless(dataset, where)
    return _joined(_all(inputs_of(dataset, ranks, inputs), where))


def labelled_arrays(dataset: Any, where: str) -> tuple[Any, NDArray]:
    """All inputs (an array; a dict or list of arrays for several) and all labels.

    One-hot labels as long as a sample's first axis look like a batch of labels: such a set is to be batched.

    Raises:
        DataError: it yields no labels, nothing, or repeats for ever; `where` names it.
    """
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or _is_nested(spec[1]):
        raise DataError(
            f"{where}: a data set without labels; expected one that yields (inputs, labels){_pair_of(spec)}"
        )
    _refuse_endless(dataset, where)
    inputs, labels = _first(spec[0]).shape, spec[1].shape
    if labels.rank == 0 or (labels.rank is not None and inputs[0] != labels[0]):
        dataset = dataset.batch(BATCH_SIZE)
    batches = _all(dataset, where)
    return _joined([each[0] for each in batches]), np.concatenate([np.asarray(each[1]) for each in batches])


def _pair_of(spec: Any) -> str:
    """How a row with names, as many collections of data yield it, becomes a pair."""
    if not isinstance(spec, Mapping) or len(spec) < 2:
        return ""
    names = [name for name in spec if "label" in str(name).lower() or str(name) in ("y", "class", "target")]
    labels = names[0] if names else list(spec)[-1]
    inputs = next(name for name in spec if name != labels)
    return f", as dataset.map(lambda row: (row[{inputs!r}], row[{labels!r}]))"


def _refuse_endless(dataset: Any, where: str) -> None:
    if int(dataset.cardinality()) == INFINITE:
        raise DataError(f"{where}: a data set that repeats for ever. Say how many batches, as in dataset.take(32)")


def _all(dataset: Any, where: str) -> list[Any]:
    batches = list(dataset.as_numpy_iterator())
    if not batches:
        raise DataError(f"{where}: a data set that yields nothing")
    return batches


def class_labels(found: Any, samples: int, classes: int | None = None) -> NDArray[np.int64]:
    """Labels `[N]` of integers, or one-hot `[N, classes]`, as int64 `[N]`; `classes` is how many a model knows.

    >>> class_labels([[0, 1], [1, 0]], 2).tolist()
    [1, 0]

    Raises:
        DataError: none, another shape, fractions, not one label a sample, or one of a class that the model has not.
    """
    if found is None:
        raise DataError("labels are missing: give y, the class of each sample as a whole number, [N]")
    labels = np.asarray(found)
    if labels.ndim == 2 and labels.shape[1] > 1 and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        labels = labels.argmax(axis=1)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "fiub" or (labels != np.trunc(labels)).any():
        raise DataError(
            f"labels are {labels.dtype}{list(labels.shape)}: expected the class of each sample as a whole number, [N], "
            "or one-hot, [N, classes]"
        )
    if len(labels) != samples or samples == 0:
        raise DataError(f"{len(labels)} labels for {samples} samples: expected one each, and at least one")
    low, high = int(labels.min()), int(labels.max())
    if classes is not None and not 0 <= low <= high < max(classes, 2):
        raise DataError(
            f"labels go from {low} to {high}, but the model has {classes} outputs: expected 0 to "
            f"{max(classes, 2) - 1}, numbered as in training"
        )
    return labels.astype(np.int64)


def _is_nested(spec: Any) -> bool:
    return isinstance(spec, (tuple, list, Mapping))


def _first(spec: Any) -> Any:
    while _is_nested(spec):
        spec = next(iter(spec.values() if isinstance(spec, Mapping) else spec))
    return spec


def _joined(batches: list[Any]) -> Any:
    if isinstance(batches[0], Mapping):
        return {name: _joined([batch[name] for batch in batches]) for name in batches[0]}
    if isinstance(batches[0], (tuple, list)):
        return [_joined(list(parts)) for parts in zip(*batches, strict=True)]
    return np.concatenate([np.asarray(batch) for batch in batches])
