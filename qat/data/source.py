"""A data set before it is split, and the checks of its labels and its contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qat.config import DataConfig
from qat.contract import Contract
from qat.data.files import ImageFiles
from qat.data.splits import Splits
from qat.datasets import explain_columns
from qat.errors import ConfigError, DataError

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_NUMBERED = "numpy.unique(labels, return_inverse=True)"
IMAGE_RANGE = (0.0, 1.0)  # scale 1/255 and 0 at 0: an int8 input then holds raw - 128 exactly, without rounding


@dataclass(frozen=True, eq=False)
class Part:
    """Samples that belong together, and their labels.

    Attributes:
        samples: `[n, ...]`, or files.
        labels: `[N]`, of the samples that count.
        rows: `[N]` into `samples`, of those that count; None takes all.
    """

    samples: NDArray | ImageFiles
    labels: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """What a loader returns: a training part, and the val and test parts that the data set has, if any.

    Attributes:
        skipped: corrupt files that are left out, each with the reason.
        look: looks into the files of splits that were made of this source; returns what is known then, to be split
            again, and None where that is nothing new. None where all is known.
    """

    train: Part
    contract: Contract
    class_names: tuple[str, ...]
    val: Part | None = None
    test: Part | None = None
    skipped: tuple[str, ...] = ()
    look: Callable[[Splits], Source | None] | None = None


_LARGEST_DIVIDED = 2.0  # no mean and no deviation of numbers from 0 to 1 is near it


def make_contract(config: DataConfig, shape: tuple[int, ...], raw_dtype: str, layout: str) -> Contract:
    """Make the contract of data of this shape, with the settings of `config`.

    Args:
        config: image size, range, mean and std, colour order and way of resizing.
        shape: sizes of one raw sample, without N: (height, width, channels) for images.
        raw_dtype: dtype of the raw samples, "uint8" or "float32".
        layout: "NHWC" for images, "features" for anything else.

    Returns:
        The contract; its shape is that of a model's input without N.

    Raises:
        ConfigError: an image size or a range that is no pair; a mean and deviation of undivided pixels.
    """
    if layout == "NHWC" and config.image_size is not None:
        if len(config.image_size) != 2 or min(config.image_size) < 1:
            raise ConfigError(f"data.image_size={config.image_size}: expected [height, width], each at least 1")
        shape = (*config.image_size, shape[-1])
    scales_itself = layout == "NHWC" and raw_dtype == "uint8" and config.mean is None and config.std is None
    if config.range is not None and len(config.range) != 2:
        raise ConfigError(f"data.range={config.range}: expected [low, high]")
    if raw_dtype == "uint8" and config.mean and config.std:
        _refuse_undivided(config.mean, config.std, "pixels" if layout == "NHWC" else "numbers")
    limits = config.range or (IMAGE_RANGE if scales_itself else None)
    return Contract(
        shape=tuple(shape),
        layout=layout,
        raw_dtype=raw_dtype,
        range=(limits[0], limits[1]) if limits else None,
        mean=tuple(config.mean) if config.mean else None,
        std=tuple(config.std) if config.std else None,
        colour_order=config.colour_order,
        resize=config.resize,
    )


def _refuse_undivided(mean: list[float], std: list[float], what: str) -> None:
    """Refuse a mean and deviation of numbers from 0 to 255, with those that do the same to numbers from 0 to 1."""
    if max(map(abs, [*mean, *std])) <= _LARGEST_DIVIDED:
        return
    divided = {"mean": mean, "std": std}
    of_255 = [name for name in divided if max(map(abs, divided[name])) > _LARGEST_DIVIDED]
    if set(std) == {1}:  # a mean that is taken off and no more, as Caffe does
        of_255 = ["mean", "std"]
    divided |= {name: [float(f"{value / 255:.4g}") for value in divided[name]] for name in of_255}
    these = "these are" if len(of_255) == 2 else f"this {of_255[0]} is"
    right = " ".join(f"data.{name}={values}".replace(" ", "") for name, values in divided.items())
    raise ConfigError(
        f"data.mean={mean} data.std={std}: {these} of {what} from 0 to 255, and {what} are divided by 255 before: "
        f"give {right}"
    )


def resolve_class_names(
    config: DataConfig,
    train: NDArray[np.int64],
    others: list[NDArray[np.int64]],
    names: tuple[str, ...] | None,
    where: str,
) -> tuple[str, ...]:
    """Choose the names of the classes: the user's, else the data set's, else the numbers 0..highest training label.

    Args:
        config: `label_names`; with `normal_class` the labels of val and test count as well, as train has no anomaly.
        train: labels of train, int64 `[N]`.
        others: labels of val and of test, int64 `[N]` each.
        names: one name per class, where the data set has them; None where not.
        where: name of the training labels, such as "data=digits: y_train", for messages.

    Returns:
        One name per class.

    Raises:
        DataError: no names, and a label between 0 and the highest that no sample has.
    """
    if config.label_names is not None:
        return tuple(config.label_names)
    if names is not None:
        return names
    present = np.unique(np.concatenate([train, *others]) if config.normal_class is not None else train)
    skipped = np.flatnonzero(present != np.arange(len(present)))
    if skipped.size:
        raise DataError(
            f"{where}: no training sample has label {skipped[0]}, though labels go up to {present[-1]}. Number the "
            f"classes 0 to {len(present) - 1}, or name all of them with data.label_names.\n"
            f"  names, labels = {_NUMBERED}"
        )
    return tuple(str(label) for label in present)


def check_labels(array: ArrayLike, samples: int, where: str) -> NDArray[np.int64]:
    """Check labels and convert them to int64.

    Args:
        array: labels `[N]` or `[N, 1]` of any integer type.
        samples: N, how many samples there are.
        where: name of the labels, such as "data=digits: y_train", for messages.

    Returns:
        Labels `[N]` int64, each at least 0.

    Raises:
        DataError: another shape, dtype or length, no labels, or negative ones.
    """
    labels = np.asarray(array)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"{where} has shape {list(labels.shape)}: {explain_columns(labels)}")
    if labels.dtype.kind not in "iu":
        raise DataError(f"{where} {_explain_labels(labels)}")
    if len(labels) != samples:
        raise DataError(
            f"{where} has {len(labels)} labels for {samples} samples: the counts must agree. "
            "Samples are counted along the first axis"
        )
    if len(labels) == 0:
        raise DataError(f"{where} is empty: expected at least one sample")
    numbers = labels.astype(np.int64)  # what is too large for it turns negative
    _refuse_labels(numbers < 0, labels, where, "outside the classes", "classes are numbered from 0")
    return numbers


def _explain_labels(labels: NDArray) -> str:
    expected = "expected integers 0..classes-1 of an integer type"
    if labels.dtype.kind in "USO" and labels.size:
        first = str(labels.flat[0])[:40]
        return (
            f"holds texts, the first is {first!r}: {expected}. Number them, and store the names with them as "
            f"label_names:\n  names, labels = {_NUMBERED}"
        )
    if labels.dtype.kind == "f" and (broken := ~np.isfinite(labels) | (labels != np.floor(labels))).any():
        first = int(np.argmax(broken))
        return (
            f"is {labels.dtype}: {expected}, and {labels[first]:g} at index {first} is none. The commands learn "
            "classes alone; qat.quantization.quantize_model and qat.tflite.convert take models of any task"
        )
    if labels.dtype.kind not in "bf":
        return f"is {labels.dtype}: {expected}. Number the values that occur:\n  names, labels = {_NUMBERED}"
    return f"is {labels.dtype}: {expected}; store labels.astype(numpy.int64)"


def check_within_classes(labels: NDArray[np.int64], class_names: tuple[str, ...], where: str) -> None:
    """Refuse labels outside the classes.

    Args:
        labels: class indices, int64 `[N]`, each at least 0.
        class_names: one name per class; labels go from 0 to one less than their number.
        where: name of the labels, such as "data=digits: y_train", for messages.

    Raises:
        DataError: a label that is not below the number of classes.
    """
    limits = f"outside the classes 0..{len(class_names) - 1}"
    advice = "correct them, or name all classes with data.label_names"
    if len(class_names) == 1:
        advice += ". If train is to hold what is normal alone, say so by data.normal_class=0, for model=autoencoder"
    _refuse_labels(labels >= len(class_names), labels, where, limits, advice)


def _refuse_labels(wrong: NDArray[np.bool_], labels: NDArray[np.integer], where: str, why: str, advice: str) -> None:
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{where} holds {int(wrong.sum())} labels {why}, the first is {labels[first]} at index {first}: {advice}"
        )
