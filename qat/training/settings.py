"""The settings of one call of `fit`, from `train` or `quant` of the config, and their checks.

No TensorFlow: commands check the settings before that is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from qat.config import SCHEDULED, SCHEDULES, QuantConfig, TrainConfig
from qat.errors import ConfigError
from qat.schedule_point import refuse_late_point

_USUAL_BATCH, _STEPS = 32, 10
ADAM = {"_target_": "tf_keras.optimizers.Adam"}


def describe_oversized_batches(samples: int, train: TrainConfig, quant: QuantConfig) -> list[str]:
    """Describe each batch size that is larger than the training set.

    Args:
        samples: number of samples in train.
        train: section whose `batch_size` is checked.
        quant: section whose `batch_size` is checked, unless it is None.

    Returns:
        One sentence per batch size that is too large, with a better one; empty if both are fine.

    >>> describe_oversized_batches(992, TrainConfig(batch_size=1000), QuantConfig(batch_size=32))
    ['train.batch_size=1000: train has 992 samples, so an epoch is a single step; batches of 32 give 31 steps']
    """
    sizes = {"train.batch_size": train.batch_size, "quant.batch_size": quant.batch_size}
    better = min(_USUAL_BATCH, max(1, samples // _STEPS))
    return [
        f"{key}={size}: train has {samples} samples, so an epoch is a single step; batches of {better} "
        f"give {samples // better} steps"
        for key, size in sizes.items()
        if size is not None and size > samples
    ]


def refuse_late_points(samples: int, train: TrainConfig, quant: QuantConfig) -> None:
    """Refuse points of the schedule of QAT that lie behind its end.

    Args:
        samples: number of samples in train.
        train: section whose `batch_size` counts where `quant` has none.
        quant: section with `epochs`, and the points `delay`, `freeze_observers_at` and `freeze_bn_at`: shares 0-1, or
            as "200steps" or "3epochs".

    Raises:
        ConfigError: a point lies at the end of the training or behind it; the message names the setting.
    """
    steps = max(1, samples // (quant.batch_size or train.batch_size))
    for name in SCHEDULED:
        value = getattr(quant, name)
        if value is not None:
            refuse_late_point(f"quant.{name}", value, quant.epochs * steps, steps)


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The settings of one training. `group` is the section of the config that error messages name: "train" or "quant".

    >>> FitSettings(epochs=-1)
    Traceback (most recent call last):
    qat.errors.ConfigError: train.epochs=-1: expected an integer from 0
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimizer: dict[str, Any] = field(default_factory=lambda: dict(ADAM))
    schedule: str = "cosine"
    label_smoothing: float = 0.0
    early_stop_epochs: int | None = None
    keep_best: bool = True
    group: str = "train"

    def __post_init__(self) -> None:
        patience = self.early_stop_epochs
        limits = {
            "epochs": (self.epochs >= 0, "an integer from 0"),
            "batch_size": (self.batch_size >= 1, "an integer from 1"),
            "learning_rate": (self.learning_rate > 0, "a number above 0"),
            "schedule": (self.schedule in SCHEDULES, " or ".join(SCHEDULES)),
            "label_smoothing": (0 <= self.label_smoothing < 1, "a share from 0 to below 1"),
            "early_stop_epochs": (patience is None or patience >= 1, "an integer from 1, or null for never"),
        }
        for key, (is_valid, expected) in limits.items():
            if not is_valid:
                raise ConfigError(f"{self.group}.{key}={getattr(self, key)}: expected {expected}")
        self._check_optimizer()

    def _check_optimizer(self) -> None:
        if "_target_" not in self.optimizer:
            raise ConfigError(
                f"{self.group}.optimizer={self.optimizer}: expected a _target_, such as tf_keras.optimizers.SGD"
            )
        for name in ("learning_rate", "lr"):
            if name in self.optimizer:
                raise ConfigError(
                    f"{self.group}.optimizer.{name}={self.optimizer[name]}: the rate has a key of its own, "
                    f"{self.group}.learning_rate"
                )

    @classmethod
    def from_train(cls, config: TrainConfig) -> FitSettings:
        """The settings of the float training."""
        return cls(**{each.name: getattr(config, each.name) for each in fields(cls) if each.name != "group"})

    @classmethod
    def from_quant(cls, config: QuantConfig, train: TrainConfig) -> FitSettings:
        """The settings of the quantization-aware training.

        Args:
            config: the section `quant` of a config.
            train: the section `train`, for label smoothing, `keep_best`, and the batch size (samples per step) where
                `quant` has none.

        Returns:
            Settings of group "quant", without early stopping.

        Raises:
            ConfigError: a value outside its limits; the message names the key.
        """
        return cls(
            epochs=config.epochs,
            batch_size=train.batch_size if config.batch_size is None else config.batch_size,
            learning_rate=config.learning_rate,
            optimizer=config.optimizer,
            schedule=config.schedule,
            label_smoothing=train.label_smoothing,
            keep_best=train.keep_best,
            group="quant",
        )
