"""What a data set brings before it is split, and the checks that every array passes on its way in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qat.config import DataConfig
from qat.contract import Contract
from qat.data.files import ImageFiles
from qat.errors import ConfigError, DataError

IMAGE_RANGE = (0.0, 1.0)  # 1/255 a step and 0 at 0: an int8 input then holds raw - 128 exactly, without rounding


@dataclass(frozen=True, eq=False)
class Part:
    """Samples that belong together, and their labels."""

    samples: NDArray | ImageFiles
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Source:
    """What a loader returns: a training part, and the val and test parts that the data set brings, if any."""

    train: Part
    contract: Contract
    class_names: tuple[str, ...]
    val: Part | None = None
    test: Part | None = None
    skipped: tuple[str, ...] = ()


def contract_of(config: DataConfig, shape: tuple[int, ...], raw_dtype: str, layout: str) -> Contract:
    """The contract of data of this shape, with the knobs of `config` in it."""
    if layout == "NHWC" and config.image_size is not None:
        if len(config.image_size) != 2 or min(config.image_size) < 1:
            raise ConfigError(f"data.image_size={config.image_size}: expected [height, width], each at least 1")
        shape = (*config.image_size, shape[-1])
    scales_itself = layout == "NHWC" and raw_dtype == "uint8" and config.mean is None and config.std is None
    if config.range is not None and len(config.range) != 2:
        raise ConfigError(f"data.range={config.range}: expected [low, high]")
    low_high = config.range or (IMAGE_RANGE if scales_itself else None)
    return Contract(
        shape=tuple(shape),
        layout=layout,
        raw_dtype=raw_dtype,
        range=(low_high[0], low_high[1]) if low_high else None,
        mean=tuple(config.mean) if config.mean else None,
        std=tuple(config.std) if config.std else None,
        colour_order=config.colour_order,
        resize=config.resize,
    )


def class_names_of(
    config: DataConfig, train: NDArray[np.int64], others: list[NDArray[np.int64]], names: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Names of the classes: the user's, else the data set's, else the numbers 0..highest training label.

    With `data.normal_class` the labels of val and test count as well: train may know no anomaly.
    """
    if config.label_names is not None:
        return tuple(config.label_names)
    if names is not None:
        return names
    present = np.unique(np.concatenate([train, *others]) if config.normal_class is not None else train)
    skipped = np.flatnonzero(present != np.arange(len(present)))
    if skipped.size:
        raise DataError(
            f"no training sample has label {skipped[0]}, though labels go up to {present[-1]}: number the classes 0 to "
            f"{len(present) - 1}, or name all of them with data.label_names"
        )
    return tuple(str(label) for label in present)


def checked_labels(found: ArrayLike, samples: int, where: str) -> NDArray[np.int64]:
    """Labels `[N]` or `[N, 1]` of any integer type, as int64 `[N]`."""
    labels = np.asarray(found)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"{where} has shape {list(labels.shape)}: expected [N]; make one-hot labels .argmax(axis=1)")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where} {_no_numbers(labels)}")
    if len(labels) != samples:
        raise DataError(f"{where} has {len(labels)} labels for {samples} samples: the counts must agree")
    if len(labels) == 0:
        raise DataError(f"{where} is empty: expected at least one sample")
    labels = labels.astype(np.int64)
    _refuse(labels < 0, labels, where, "outside the classes", "classes are numbered from 0")
    return labels


def _no_numbers(labels: NDArray) -> str:
    wanted = "expected whole numbers 0..classes-1 of an integer type"
    if labels.dtype.kind in "USO" and labels.size:
        first = str(labels.flat[0])[:40]
        return (
            f"holds texts, the first is {first!r}: {wanted}. Number them, and store the names beside them as "
            "label_names:\n  names, labels = numpy.unique(labels, return_inverse=True)"
        )
    return f"is {labels.dtype}: {wanted}; store labels.astype(numpy.int64), if they are whole numbers"


def check_within_classes(labels: NDArray[np.int64], class_names: tuple[str, ...], where: str) -> None:
    limits = f"outside the classes 0..{len(class_names) - 1}"
    _refuse(
        labels >= len(class_names), labels, where, limits, "correct them, or name all classes with data.label_names"
    )


def _refuse(wrong: NDArray[np.bool_], labels: NDArray[np.int64], where: str, why: str, advice: str) -> None:
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{where} holds {int(wrong.sum())} labels {why}, the first is {labels[first]} at index {first}: {advice}"
        )
