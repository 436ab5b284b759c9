"""A source to four splits: test and val by `data.split_seed`, calibration by the run's seed."""

from __future__ import annotations

import math

import numpy as np

from qat.config import DataConfig
from qat.data.draw import draw
from qat.data.source import Part, Source
from qat.data.splits import Split, Splits
from qat.errors import CalibrationError, ConfigError, DataError

USUAL_SAMPLES = 256  # of calibration, where nobody says how many


def partition(source: Source, config: DataConfig, calibration_samples: int | None, seed: int) -> Splits:
    """Draw test and val where the source brings none, cut to `max_samples`, draw calibration from train.

    The splits depend on the data, the fractions and `data.split_seed` alone; `seed` draws the calibration samples.
    """
    rest, test = _apart(_whole("train", source.train, source), source.test, source, "test", config)
    train, val = _apart(rest, source.val, source, "val", config)
    class_names = source.class_names
    if config.normal_class is not None:
        train, val, test = _as_anomaly_task(train, val, test, config.normal_class, class_names)
        class_names = ("normal", "anomaly")
    train, val, test = (_cut(split, config) for split in (train, val, test))
    indices = calibration_indices(train, calibration_samples, seed)
    calibration = train.take(indices, name="calibration")
    return Splits(train, val, calibration, test, class_names, indices, source.skipped)


def calibration_indices(train: Split, samples: int | None, seed: int) -> np.ndarray:
    """Which samples of train calibrate: drawn by class, ascending. 0 draws none; None the usual 256, or all of fewer.

    Raises CalibrationError when there are fewer than asked for.
    """
    if samples is None:
        samples = min(USUAL_SAMPLES, len(train))
    if samples < 0 or samples > len(train):
        raise CalibrationError(
            f"quant.calibration.samples={samples}: train has {len(train)} samples to draw them from; ask for at most "
            "that many, or give more data (data.max_samples, data.val_fraction and data.test_fraction take from it)"
        )
    return draw(train.labels, samples, np.random.default_rng([seed, 1]))


def _whole(name: str, part: Part, source: Source) -> Split:
    return Split(name, part.labels, source.contract, part.samples, np.arange(len(part.labels)))


def _apart(rest: Split, brought: Part | None, source: Source, name: str, config: DataConfig) -> tuple[Split, Split]:
    """(what remains, the split called `name`): the one that the source brings, or one drawn by its fraction."""
    if brought is not None:
        return rest, _whole(name, brought, source)
    fraction = getattr(config, f"{name}_fraction")
    generator = np.random.default_rng([config.split_seed, {"test": 0, "val": 1}[name]])
    drawn = draw(rest.labels, math.ceil(fraction * len(rest)), generator, leave_one=True)
    if len(drawn) == 0:
        raise DataError(
            f"data.{name}_fraction={fraction} of {len(rest)} samples in {len(source.class_names)} classes leaves none "
            f"for {name}: give more data, or raise the fraction"
        )
    remaining = np.setdiff1d(np.arange(len(rest)), drawn)
    return rest.take(remaining), rest.take(drawn, name=name)


def _as_anomaly_task(
    train: Split, val: Split, test: Split, normal: int, class_names: tuple[str, ...]
) -> tuple[Split, Split, Split]:
    """Train on one class alone (label 0); val and test hold both, label 1 for every other class."""
    if not 0 <= normal < len(class_names):
        raise ConfigError(f"data.normal_class={normal}: expected a class, 0..{len(class_names) - 1}")
    kept = np.flatnonzero(train.labels == normal)
    relabelled = [split.take(np.arange(len(split)), labels=split.labels != normal) for split in (val, test)]
    for split in relabelled:
        if len(np.unique(split.labels)) < 2:
            raise DataError(
                f"data.normal_class={normal}: {split.name} holds {int((split.labels == 0).sum())} normal samples and "
                f"{int((split.labels == 1).sum())} anomalies, and AUC needs both; bring a {split.name} set "
                f"of both kinds (x_{split.name} and y_{split.name}, or a folder {split.name}/)"
            )
    return train.take(kept, labels=np.zeros(len(kept))), relabelled[0], relabelled[1]


def _cut(split: Split, config: DataConfig) -> Split:
    if config.max_samples is None or config.max_samples >= len(split):
        return split
    return split.take(draw(split.labels, config.max_samples, np.random.default_rng([config.split_seed, 2])))
