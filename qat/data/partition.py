"""A source to four splits: test and val by `data.split_seed`, calibration by the run's seed."""

from __future__ import annotations

import math

import numpy as np

from qat.config import DataConfig
from qat.data.draw import draw
from qat.data.source import Part, Source
from qat.data.splits import Split, Splits
from qat.errors import CalibrationError, ConfigError, DataError

DEFAULT_SAMPLES = 256  # of calibration, where the config has no number
ANOMALY_CLASSES = ("normal", "anomaly")


def partition(source: Source, config: DataConfig, calibration_samples: int | None, seed: int) -> Splits:
    """Draw test and val where the source has none, limit each to `max_samples`, draw calibration from train.

    Args:
        source: samples and labels of train, and of val and test where the data set has them.
        config: fractions (0-1), `max_samples`, `normal_class` and `split_seed`, on which alone the splits depend.
        calibration_samples: how many to draw from train; 0 draws none, None 256 or, where train has fewer, all of it.
        seed: the run's seed, an integer from 0; it draws the calibration samples.

    Returns:
        The four splits.

    Raises:
        DataError: a split would be empty, or has no samples of one of the two classes of an anomaly task.
        ConfigError: `data.normal_class` is no class.
        CalibrationError: more calibration samples than train has.
    """
    rest, test = _split_off(_to_split("train", source.train, source), source.test, source, "test", config)
    train, val = _split_off(rest, source.val, source, "val", config)
    class_names = source.class_names
    if config.normal_class is not None:
        train, val, test = _as_anomaly_task(train, val, test, config.normal_class, class_names)
        class_names = ANOMALY_CLASSES
    train, val, test = (_limit_samples(split, config) for split in (train, val, test))
    indices = draw_calibration_indices(train, calibration_samples, seed)
    calibration = train.take(indices, name="calibration")
    return Splits(train, val, calibration, test, class_names, indices, source.skipped)


def keep_whole(source: Source, config: DataConfig) -> Splits:
    """All samples as one split, for data that is evaluated and not trained on.

    Args:
        source: the samples, in one part.
        config: `normal_class`, `max_samples`, and `split_seed`, by which the latter are drawn.

    Returns:
        Splits of which `train`, by the name `all`, holds every sample, and the others none.

    Raises:
        ConfigError: `data.normal_class` is no class.
    """
    whole, class_names = _to_split("all", source.train, source), source.class_names
    if config.normal_class is not None:
        _check_normal_class(config.normal_class, class_names)
        whole = whole.take(np.arange(len(whole)), labels=whole.labels != config.normal_class)
        class_names = ANOMALY_CLASSES
    whole = _limit_samples(whole, config)
    nothing = whole.take([])
    return Splits(whole, nothing, nothing, nothing, class_names, nothing.positions, source.skipped)


def draw_calibration_indices(train: Split, samples: int | None, seed: int) -> np.ndarray:
    """Draw the samples that calibrate, each class in proportion.

    Args:
        train: the split to draw from, N samples.
        samples: how many to draw; 0 draws none, None 256 or, where train has fewer, all of it.
        seed: the run's seed, an integer from 0.

    Returns:
        Indices into train, int64 `[samples]`, ascending.

    Raises:
        CalibrationError: train has fewer samples.
    """
    if samples is None:
        samples = min(DEFAULT_SAMPLES, len(train))
    if samples < 0 or samples > len(train):
        raise CalibrationError(
            f"quant.calibration.samples={samples}: train has {len(train)} samples to draw them from; ask for at most "
            "that many, or give more data (data.max_samples, data.val_fraction and data.test_fraction take from it)"
        )
    return draw(train.labels, samples, np.random.default_rng([seed, 1]))


def _to_split(name: str, part: Part, source: Source) -> Split:
    rows = np.arange(len(part.labels)) if part.rows is None else part.rows
    return Split(name, part.labels, source.contract, part.samples, rows)


def _split_off(rest: Split, own: Part | None, source: Source, name: str, config: DataConfig) -> tuple[Split, Split]:
    """The remaining samples, and the split called `name`: the source's own, or one drawn by its fraction."""
    if own is not None:
        return rest, _to_split(name, own, source)
    fraction = getattr(config, f"{name}_fraction")
    generator = np.random.default_rng([config.split_seed, {"test": 0, "val": 1}[name]])
    indices = draw(rest.labels, math.ceil(fraction * len(rest)), generator, leave_one=True)
    if len(indices) == 0:
        raise DataError(
            f"data.{name}_fraction={fraction} of {len(rest)} samples in {len(source.class_names)} classes leaves none "
            f"for {name}: give more data, or raise the fraction"
        )
    remaining = np.setdiff1d(np.arange(len(rest)), indices)
    return rest.take(remaining), rest.take(indices, name=name)


def _as_anomaly_task(
    train: Split, val: Split, test: Split, normal: int, class_names: tuple[str, ...]
) -> tuple[Split, Split, Split]:
    """Train on one class alone (label 0); val and test hold both, label 1 for every other class."""
    _check_normal_class(normal, class_names)
    normal_indices = np.flatnonzero(train.labels == normal)
    relabelled = [split.take(np.arange(len(split)), labels=split.labels != normal) for split in (val, test)]
    for split in relabelled:
        if len(np.unique(split.labels)) < 2:
            raise DataError(
                f"data.normal_class={normal}: {split.name} holds {int((split.labels == 0).sum())} normal samples and "
                f"{int((split.labels == 1).sum())} anomalies, and AUC needs both; bring a {split.name} set "
                f"of both kinds (x_{split.name} and y_{split.name}, or a folder {split.name}/)"
            )
    return train.take(normal_indices, labels=np.zeros(len(normal_indices))), relabelled[0], relabelled[1]


def _check_normal_class(normal: int, class_names: tuple[str, ...]) -> None:
    if not 0 <= normal < len(class_names):
        raise ConfigError(f"data.normal_class={normal}: expected a class, 0..{len(class_names) - 1}")


def _limit_samples(split: Split, config: DataConfig) -> Split:
    if config.max_samples is None or config.max_samples >= len(split):
        return split
    return split.take(draw(split.labels, config.max_samples, np.random.default_rng([config.split_seed, 2])))
