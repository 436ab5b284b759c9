"""Data sets: a dictionary of loaders, and `load`, which makes four splits of any of them.

Nothing slow is imported here, so that a command can list and check the choices before TensorFlow or scikit-learn load.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from pathlib import Path

from qat.config import DataConfig
from qat.contract import Contract
from qat.data import digits, image_folder, keras_sets, npz, user
from qat.data.augmentation import augment
from qat.data.partition import keep_whole, partition
from qat.data.source import Source
from qat.data.splits import Split, Splits
from qat.errors import ConfigError, DataError
from qat.plain_text import address_hint, is_utf8
from qat.setting import describe_refused_values

CHANNELS = {"digits": 3, "mnist": 1, "fashion_mnist": 1, "cifar10": 3, "image_folder": 3}  # without data.channels
TRAIN_SAMPLES = {"digits": 1797, "mnist": 60_000, "fashion_mnist": 60_000, "cifar10": 50_000}  # before any split
FEW_SAMPLES = 10_000  # where it is known without reading that there are fewer, a job is short
CLASSES = 10  # of each of these sets
LARGEST_SIDE = 65536  # of an image, in pixels

__all__ = ["DATASETS", "Split", "Splits", "augment", "check", "has_few_samples", "load"]

DATASETS: dict[str, Callable[[DataConfig], Source | Splits]] = {
    "digits": digits.read,
    "mnist": keras_sets.read_mnist,
    "fashion_mnist": keras_sets.read_fashion_mnist,
    "cifar10": keras_sets.read_cifar10,
    "npz": npz.read,
    "image_folder": image_folder.read,
    "user": user.read,
}


def has_few_samples(config: DataConfig) -> bool:
    """Whether it is known without reading that the data have fewer than `FEW_SAMPLES` samples."""
    return config.path is None and TRAIN_SAMPLES.get(config.name, FEW_SAMPLES) < FEW_SAMPLES


def check(config: DataConfig) -> None:
    """Refuse what can be refused without reading data: unknown names, values outside their limits, a missing path."""
    if config.name not in DATASETS:
        near = difflib.get_close_matches(str(config.name), DATASETS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"data.name={config.name!r} is unknown: expected one of {', '.join(DATASETS)}{hint}")
    for complaint in describe_refused_values(config, "data."):
        raise ConfigError(complaint)
    if config.channels not in (None, 1, 3):
        raise ConfigError(f"data.channels={config.channels}: expected 1, 3 or null")
    names = config.label_names or []
    if config.label_names == []:
        raise ConfigError("data.label_names=[]: expected a name for each class, or null")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"data.label_names: {twice} stands there twice: expected another name for each class")
    if config.name in TRAIN_SAMPLES and config.path is None:
        if names and len(names) < CLASSES:
            raise ConfigError(f"data.label_names={names}: expected a name for each of {CLASSES} classes")
        if (config.normal_class or 0) >= CLASSES:
            raise ConfigError(f"data.normal_class={config.normal_class}: expected a class from 0 to {CLASSES - 1}")
    _check_scaling(config)
    _check_needs(config)


def _check_scaling(config: DataConfig) -> None:
    """Refuse sizes and scalings that fit no data; `Contract` refuses the rest once the channels are known."""
    size = config.image_size
    if size is not None and (len(size) != 2 or not 1 <= min(size) <= max(size) <= LARGEST_SIDE):
        raise ConfigError(
            f"data.image_size={size}: expected [height, width], each at least 1 pixel, at most {LARGEST_SIDE}, or null"
        )
    limits = config.range
    if limits is not None and (len(limits) != 2 or not -math.inf < limits[0] < limits[1] < math.inf):
        raise ConfigError(f"data.range={limits}: expected [low, high], low below high, or null")
    if (config.mean is None) != (config.std is None):
        given, missing = ("std", "mean") if config.mean is None else ("mean", "std")
        raise ConfigError(
            f"data.{given}={getattr(config, given)} without data.{missing}: each needs the other, one number per "
            "channel in both"
        )
    if limits is not None and config.mean is not None:
        raise ConfigError(
            f"data.range={limits} and data.mean={config.mean}: range and mean/std are both set; expected one of them"
        )
    if config.std is not None and len(config.std) != len(config.mean):
        raise ConfigError(f"data.std={config.std}: expected as many numbers as data.mean has ({len(config.mean)})")

    channels = config.channels or CHANNELS.get(config.name)
    if config.mean is not None and channels is not None and len(config.mean) not in (1, channels):
        raise ConfigError(f"data.mean={config.mean}: expected 1 number or {channels}, one per channel")


def count_train(config: DataConfig) -> int | None:
    """How many samples train will have, where that is known before the data are read.

    >>> count_train(DataConfig(name="digits"))
    992
    """
    if config.path is not None or config.name not in TRAIN_SAMPLES or config.normal_class is not None:
        return None
    samples = TRAIN_SAMPLES[config.name]
    if config.name == "digits":  # the others bring a test split of their own
        samples -= math.ceil(config.test_fraction * samples)
    samples -= math.ceil(config.val_fraction * samples)
    return min(samples, config.max_samples or samples)


def _check_augmentation(config: DataConfig, contract: Contract) -> None:
    """Refuse what fits no image of this data, before a training begins."""
    settings = config.augmentation
    if not (settings.crop_pixels or settings.shift_pixels or settings.flip):
        return
    if contract.layout != "NHWC":
        raise ConfigError("data.augmentation: it changes images, and these samples are features; leave it out")
    for key in ("crop_pixels", "shift_pixels"):
        side = min(contract.shape[:2])
        if getattr(settings, key) >= side:
            raise ConfigError(
                f"data.augmentation.{key}={getattr(settings, key)}: expected fewer pixels than the image has ({side})"
            )


def _check_needs(config: DataConfig) -> None:
    if config.name in ("npz", "image_folder") and config.path is None:
        raise ConfigError(f"data={config.name} needs data.path, the file or folder to read")
    if config.name == "user" and not (config.target or {}).get("_target_"):
        raise ConfigError("data=user needs data.target._target_, the dotted name of a function that returns the data")
    if config.path is not None and not _exists(config.path):
        raise DataError(f"data.path={config.path[:1000]}: no such file or folder.{address_hint(config.path)}")


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name that no file system takes
        return False


def load(config: DataConfig, calibration_samples: int | None, seed: int, *, divided: bool = True) -> Splits:
    """Read a data set and split it: train, val, calibration (drawn from train by `seed`) and test.

    test and val depend on `data.split_seed`, never on `seed`.

    Args:
        config: which data set, and how to read, split and scale it.
        calibration_samples: how many to draw; 0 draws none, None 256 or, where train has fewer, all of it.
        seed: the run's seed, an integer from 0; it draws the calibration samples.
        divided: False leaves all samples in train, for data that is evaluated and not trained on.

    Returns:
        The four splits, not yet scaled: uint8 or float32 samples [N, ...] become model inputs when they are asked for;
        labels are int64 [N].

    Raises:
        ConfigError: a setting with a value that makes no sense, an unknown name (the choices are listed).
        DataError: data that is missing, corrupt, misshapen, not finite, or labelled outside the classes.
        CalibrationError: more calibration samples than train has.
    """

    def split(source: Source) -> Splits:
        return partition(source, config, calibration_samples, seed) if divided else keep_whole(source, config)

    check(config)
    source = DATASETS[config.name](config)
    if not divided and (isinstance(source, Splits) or source.val is not None or source.test is not None):
        raise ConfigError("split=all: this data brings parts of its own; choose test, val or train.")
    splits = source if isinstance(source, Splits) else split(source)
    while isinstance(source, Source) and source.look is not None and (known := source.look(splits)) is not None:
        source, splits = known, split(known)
    _check_class_names(config, splits.class_names)
    _check_augmentation(config, splits.contract)
    return splits


def _check_class_names(config: DataConfig, names: tuple[str, ...]) -> None:
    """Refuse names that no list of labels can hold, which has a line for each: folders may have names of any bytes."""
    where = "data.label_names" if config.label_names else f"data.path={config.path}"
    for name in names:
        if not is_utf8(name):
            fault = "a name that is no UTF-8 text"
        elif not name.strip() or name.splitlines() != [name]:
            fault = "a name that is blank or takes several lines"
        elif names.count(name) > 1:
            fault = "the name of another class"
        else:
            continue
        raise DataError(
            f"{where}: the class {ascii(name)[:80]} has {fault}. Rename it, or name the classes with data.label_names"
        )
