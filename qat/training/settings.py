"""What one call of `fit` is told, from either half of the config, and the refusal of what cannot be meant.

No TensorFlow: the doors check the settings before it is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from qat.config import SCHEDULES, QuantConfig, TrainConfig
from qat.errors import ConfigError

_USUAL_BATCH, _STEPS = 32, 10
ADAM = {"_target_": "tf_keras.optimizers.Adam"}


def larger_than(samples: int, train: TrainConfig, quant: QuantConfig) -> list[str]:
    """A sentence on each batch that all `samples` of train do not fill.

    >>> larger_than(992, TrainConfig(batch_size=1000), QuantConfig(batch_size=32))
    ['train.batch_size=1000: train has 992 samples, so an epoch is a single step; 32 makes 31 of it']
    """
    sizes = {"train.batch_size": train.batch_size, "quant.batch_size": quant.batch_size}
    step = min(_USUAL_BATCH, max(1, samples // _STEPS))
    return [
        f"{key}={size}: train has {samples} samples, so an epoch is a single step; {step} makes {samples // step} of it"
        for key, size in sizes.items()
        if size is not None and size > samples
    ]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The knobs of one training. `group` ("train" or "quant") is where errors say that the knobs are.

    >>> FitSettings(epochs=-1)
    Traceback (most recent call last):
    qat.errors.ConfigError: train.epochs=-1: expected a whole number from 0
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
            "epochs": (self.epochs >= 0, "a whole number from 0"),
            "batch_size": (self.batch_size >= 1, "a whole number from 1"),
            "learning_rate": (self.learning_rate > 0, "a number above 0"),
            "schedule": (self.schedule in SCHEDULES, " or ".join(SCHEDULES)),
            "label_smoothing": (0 <= self.label_smoothing < 1, "a share from 0 to below 1"),
            "early_stop_epochs": (patience is None or patience >= 1, "a whole number from 1, or null for never"),
        }
        for key, (fine, expected) in limits.items():
            if not fine:
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
    def of_train(cls, config: TrainConfig) -> FitSettings:
        """The float training's."""
        return cls(
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            optimizer=config.optimizer,
            schedule=config.schedule,
            label_smoothing=config.label_smoothing,
            early_stop_epochs=config.early_stop_epochs,
            keep_best=config.keep_best,
        )

    @classmethod
    def of_quant(cls, config: QuantConfig, train: TrainConfig) -> FitSettings:
        """The quantization-aware training's: what `quant` does not say is taken from `train`."""
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
