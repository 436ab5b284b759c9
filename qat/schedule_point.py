"""A point of a training schedule as a config names it: a share of all training steps, a step, or an epoch."""

from __future__ import annotations

import re

from qat.errors import ConfigError

_COUNTED = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(steps?|epochs?)\s*")


def training_step(value: float | str, steps: int, steps_per_epoch: int, key: str = "value") -> int:
    """The training step that a point of a schedule names.

    Args:
        value: a share of `steps`, 0-1; or "200steps"; or "3epochs".
        steps: number of training steps of the whole training.
        steps_per_epoch: training steps per epoch, used where `value` counts epochs.
        key: dotted key of the setting, as "quant.delay", for the message.

    Returns:
        The step before which the point lies, counted from 0.

    Raises:
        ConfigError: `value` is none of these.

    >>> values = (0.25, "200steps", "1 step", "2.5epochs", "0.5")
    >>> [training_step(value, steps=1000, steps_per_epoch=100) for value in values]
    [250, 200, 1, 250, 500]
    """
    counted = _COUNTED.fullmatch(str(value))
    if counted:
        number, unit = float(counted[1]), counted[2]
        return int(number * (steps_per_epoch if unit.startswith("epoch") else 1))
    try:
        share = float(value)
    except (TypeError, ValueError, OverflowError):
        share = -1.0
    if not 0 <= share <= 1 or isinstance(value, bool):
        raise ConfigError(
            f"{key}={value}: expected a share of the training from 0 to 1, or as 200steps, or as 3epochs."
        )
    return int(share * steps)


def refuse_late_point(key: str, value: float | str, steps: int, steps_per_epoch: int) -> None:
    """Refuse a point that lies at the end of a training or behind it: nothing would happen there.

    Args:
        key: dotted key of the setting, as "quant.delay", for the message.
        value: a share of `steps`, 0-1; or "200steps"; or "3epochs"; as `training_step` takes it.
        steps: number of training steps of the whole training; 0 refuses nothing.
        steps_per_epoch: training steps per epoch.

    Raises:
        ConfigError: no training step follows the point, or `value` is no point.

    >>> refuse_late_point("quant.delay", "99999steps", steps=310, steps_per_epoch=31)
    Traceback (most recent call last):
    qat.errors.ConfigError: quant.delay=99999steps: the training ends before, after 10 epochs of 31 steps; choose an \
earlier point, or null for never.
    """
    if training_step(value, steps, steps_per_epoch, key) >= steps > 0:
        length = f"{steps // steps_per_epoch} epochs" + (f" of {steps_per_epoch} steps" if steps_per_epoch > 1 else "")
        raise ConfigError(
            f"{key}={value}: the training ends before, after {length}; choose an earlier point, or null for never."
        )
