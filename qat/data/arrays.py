"""Arrays in memory to a `Source`, for every data set that is not streamed from files.

uint8 of rank 3 or 4 is read as images `[N, height, width(, channels)]`; floats are features and pass unscaled, unless
a setting that only images have (image_size, range, mean, augmentation) says that they are images.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qat.config import DataConfig
from qat.data.source import Part, Source, check_labels, check_within_classes, make_contract, resolve_class_names
from qat.errors import ConfigError, DataError
from qat.warning import warn

_SAMPLES_TO_LOOK_AT = 64  # the first so many, to guess what all of them are
_STORED_AS = {  # by dtype or by its kind: what is stored in place of an array that is neither uint8 nor float
    "bool": "Store pixels as x.astype(numpy.uint8) * 255, flags as x.astype(numpy.float32)",
    "int8": "Store pixels as (x.astype(int) + 128).astype(numpy.uint8), other numbers as x.astype(numpy.float32)",
    "uint16": "Store pixels as (x // 257).astype(numpy.uint8), other numbers as x.astype(numpy.float32)",
    "i": "Store pixels from 0 to 255 as x.astype(numpy.uint8), other numbers as x.astype(numpy.float32)",
    "u": "Store pixels from 0 to 255 as x.astype(numpy.uint8), other numbers as x.astype(numpy.float32)",
}
_NO_SAMPLES = "Store the numbers that the model takes, as x.astype(numpy.float32), once each is one real number"
_LUMA = (19595, 38470, 7471)  # ITU-R 601, in 1/65536


def source_from_arrays(
    config: DataConfig, arrays: Mapping[str, ArrayLike], origin: str, class_names: tuple[str, ...] | None = None
) -> Source:
    """Check arrays and make a `Source` of them.

    Args:
        config: image size, channels, scaling and class names.
        arrays: x_train, y_train and optionally x_test, y_test, x_val, y_val; or x, y, which are then split. x is
            `[N, ...]` uint8 or float, y `[N]` or `[N, 1]` of an integer type.
        origin: where the arrays come from, for messages, such as "data=digits".
        class_names: one name per class, where the data set has them; None where not; `data.label_names` goes before.

    Returns:
        The parts: images as uint8 or float32 `[N, height, width, channels]`, features as float32 `[N, ...]`.

    Raises:
        DataError: missing keys, unequal lengths, NaN, labels outside the classes, another dtype.
        ConfigError: a setting of images for data that is none, or channels that the images cannot have.
    """
    first = "x" if "x" in arrays and "x_train" not in arrays else "x_train"
    suffix = first[1:]
    _check_keys(arrays, (first, f"y{suffix}"), origin)
    others = [key for key in ("_val", "_test") if f"x{key}" in arrays or f"y{key}" in arrays]
    _check_keys(arrays, tuple(f"{axis}{key}" for key in others for axis in "xy"), origin)
    _refuse_swapped(arrays[first], arrays[f"y{suffix}"], f"{origin}: {first}", f"y{suffix}")
    samples = {key: _read_samples(arrays[f"x{key}"], f"{origin}: x{key}") for key in (suffix, *others)}
    if len(samples[suffix]) > 1 and (samples[suffix] == samples[suffix][:1]).all():
        count = len(samples[suffix])
        warn(f"{origin}: {first}: all {count} samples are equal: nothing tells them apart")
    _warn_of_unread(arrays, {f"{axis}{key}" for key in samples for axis in "xy"}, origin)
    layout = _layout(config, samples[suffix])
    if layout == "features" and _looks_like_pixels(samples[suffix]):
        warn(
            f"{origin}: {first} is float32 and looks like pixels from 0 to 255, which are taken unscaled. Images are "
            f"uint8 and then scaled: store {first}.astype(numpy.uint8), or say data.range=[0,1]",
        )
    for key in others:
        _check_alike(samples[suffix], samples[key], f"{origin}: x{key}", first)
        _warn_of_shared(samples[suffix], samples[key], f"{origin}: x{key}", first)
    labels = {key: check_labels(arrays[f"y{key}"], len(samples[key]), f"{origin}: y{key}") for key in samples}
    names = resolve_class_names(
        config, labels[suffix], [labels[key] for key in others], class_names, f"{origin}: y{suffix}"
    )
    for key in labels:
        check_within_classes(labels[key], names, f"{origin}: y{key}")
    inputs = {key: _to_layout(config, samples[key], layout) for key in samples}
    parts = {key: Part(inputs[key], labels[key]) for key in samples}
    contract = make_contract(config, inputs[suffix].shape[1:], str(inputs[suffix].dtype), layout)
    return Source(parts[suffix], contract, names, val=parts.get("_val"), test=parts.get("_test"))


def _warn_of_unread(arrays: Mapping[str, ArrayLike], read: set[str], origin: str) -> None:
    unread = [key for key in arrays if re.match(r"[xy](_|$)", key.lower()) and key not in read]
    if unread:
        warn(
            f"{origin}: {', '.join(sorted(read))} are taken, and not {', '.join(sorted(unread))}. Parts are named "
            "train, val and test, as x_val and y_val; x and y alone are split",
        )


def _warn_of_shared(train: NDArray, other: NDArray, where: str, first: str) -> None:
    """Say that a part to judge by holds what is trained on."""
    known = {hash(row.tobytes()) for row in train}
    shared = sum(hash(row.tobytes()) in known for row in other)
    if shared * 2 > len(other):
        warn(
            f"{where}: {shared} of its {len(other)} samples stand in {first} as well: accuracy on them says nothing "
            "about new ones. Without it, a part of the training samples is set aside",
        )


def _looks_like_pixels(samples: NDArray) -> bool:
    """Whether these are integers up to 255, in the shape of images."""
    if samples.ndim != 4 or samples.shape[-1] not in (1, 3):
        return False
    some = samples[:_SAMPLES_TO_LOOK_AT]
    return bool(some.min() >= 0 and 1 < some.max() <= 255 and (some == np.floor(some)).all())


def _check_keys(arrays: Mapping[str, ArrayLike], needed: tuple[str, ...], origin: str) -> None:
    missing = [key for key in needed if key not in arrays]
    if missing:
        keys = ", ".join(sorted(arrays)[:40]) + (", …" if len(arrays) > 40 else "")
        raise DataError(
            f"{origin} has no {' and no '.join(missing)}; its keys are {keys or 'none'}. Expected "
            "x_train, y_train, x_test, y_test (x_val, y_val if there is a val set), or x and y, which are then split"
        )


def read_class_names(names: object, where: str) -> tuple[str, ...]:
    """Read the names of classes as data bring them.

    Args:
        names: a list, a tuple, or an array of one axis.
        where: what they belong to, for the message, as "data.path=a.npz: class_names".

    Returns:
        One name per class.

    Raises:
        DataError: anything else.
    """
    rows = names if isinstance(names, list | tuple) else np.asarray(names)
    if isinstance(rows, np.ndarray) and rows.ndim != 1:
        raise DataError(f"{where}: expected a list of names, one per class")
    try:
        return tuple(map(str, rows))
    except SystemError as error:  # NumPy, of bytes that are no characters
        raise DataError(f"{where}: damaged: they are no text") from error


def _layout(config: DataConfig, samples: NDArray) -> str:
    augmented = config.augmentation.crop_pixels or config.augmentation.flip or config.augmentation.shift_pixels
    declared = bool(config.image_size or config.range or config.mean or augmented)
    if samples.ndim in (3, 4) and (samples.dtype == np.uint8 or declared):
        return "NHWC"
    if config.image_size or augmented:
        raise ConfigError(
            f"data.image_size and data.augmentation are for images; this is data of {samples.ndim - 1} axes"
        )
    return "features"


def _to_layout(config: DataConfig, samples: NDArray, layout: str) -> NDArray:
    """Images with a channel axis and `data.channels` channels; features unchanged."""
    if layout == "NHWC":
        return convert_channels(samples[..., None] if samples.ndim == 3 else samples, config.channels)
    if config.channels is not None:
        raise ConfigError(f"data.channels={config.channels} is for images; features keep their shape: leave it null")
    return samples


def _refuse_swapped(samples: ArrayLike, labels: ArrayLike, where: str, labels_name: str) -> None:
    shapes = np.shape(samples) if isinstance(samples, np.ndarray) else (), np.shape(labels)
    if len(shapes[0]) == 1 and len(shapes[1]) > 1:
        raise DataError(
            f"{where} has shape {list(shapes[0])} and {labels_name} {list(shapes[1])}: expected samples [N, ...] and "
            "labels [N]; the two look swapped"
        )


def _read_samples(array: ArrayLike, where: str) -> NDArray:
    """Convert samples to uint8 or float32, and check them for NaN."""
    try:
        samples = np.asarray(array)
    except ValueError as error:
        raise DataError(f"{where} is no array: its samples differ in shape ({error})") from error
    if samples.ndim < 2:
        raise DataError(f"{where} has shape {list(samples.shape)}: expected [N, ...], one row per sample")
    if 0 in samples.shape[1:]:
        raise DataError(f"{where} has shape {list(samples.shape)}: an axis of size 0 leaves nothing in a sample")
    if samples.dtype.kind == "f":
        return _finite(samples, where)
    if samples.dtype != np.uint8:
        raise DataError(
            f"{where} is {samples.dtype}: expected uint8 (images, 0..255) or float32 (features, token ids). "
            + (_STORED_AS.get(samples.dtype.name) or _STORED_AS.get(samples.dtype.kind, _NO_SAMPLES))
        )
    if samples.ndim == 4 and samples.size and samples.max() == 1:
        warn(
            f"{where} is uint8 and holds 0 and 1 alone, where pixels go from 0 to 255: scaled, they are all nearly 0. "
            "If they were scaled before they became integers, store them unscaled; a mask is stored as x * 255",
        )
    if samples.ndim == 4 and samples.shape[1] in (1, 3) and samples.shape[3] > 4:
        raise DataError(f"{where} has shape {list(samples.shape)}: channels come last; store x.transpose(0, 2, 3, 1)")
    return samples


def _finite(samples: NDArray, where: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is refused
        samples = samples.astype(np.float32, copy=False)
    finite = np.isfinite(samples)
    if not finite.all():
        row = int(np.argmin(finite.reshape(len(samples), -1).all(axis=1)))
        raise DataError(
            f"{where}: {int((~finite).sum())} of its numbers are NaN or infinite, the first in sample {row}: remove or "
            "repair those samples"
        )
    return samples


def _check_alike(train: NDArray, other: NDArray, where: str, first: str) -> None:
    if train.shape[1:] != other.shape[1:] or train.dtype != other.dtype:
        raise DataError(
            f"{where} holds {other.dtype} samples of shape {list(other.shape[1:])}, {first} {train.dtype} samples of "
            f"shape {list(train.shape[1:])}: both must be alike; store both in one shape and as one dtype"
        )


def convert_channels(images: NDArray, channels: int | None) -> NDArray:
    """Convert images to so many channels: grey is repeated, RGB becomes grey by the luma of ITU-R BT.601.

    >>> convert_channels(np.full((1, 1, 1, 3), 7, np.uint8), 1).tolist()
    [[[[7]]]]

    Args:
        images: `[N, height, width, channels]`; RGB to grey takes uint8 only.
        channels: the size of the last axis, 1 or 3; None leaves the images as they are.

    Returns:
        `[N, height, width, channels]` of the same dtype.

    Raises:
        ConfigError: images of other channels, or of another dtype, that cannot be converted.
    """
    present = images.shape[-1]
    if channels is None or channels == present:
        return images
    if (present, channels) == (1, 3):
        return np.repeat(images, 3, axis=-1)
    if (present, channels) == (3, 1) and images.dtype == np.uint8:
        weighted = images.astype(np.uint32) * np.array(_LUMA, np.uint32)
        return ((weighted.sum(axis=-1, keepdims=True) + 0x8000) >> 16).astype(np.uint8)
    raise ConfigError(
        f"data.channels={channels}: images of {present} channels and {images.dtype} can become 1 or 3, or stay"
    )
