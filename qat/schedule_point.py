"""A point of a training schedule as a config names it: a share of all training steps, a step, or an epoch."""

from __future__ import annotations

import re

from qat.errors import ConfigError

_COUNTED = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(steps?|epochs?)\s*")


def training_step(value: float | str, steps: int, steps_per_epoch: int, key: str = "value") -> int:
    """The training step that a point of a schedule names.

    Args:
        value: a share of `steps`, 0-1; or "200steps"; or "3epochs".
        steps: training steps of the whole training.
        steps_per_epoch: training steps per epoch, used where `value` counts epochs.
        key: of the config, for the message.

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
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1 or isinstance(value, bool):
        raise ConfigError(
            f"{key}={value}: expected a share of the training from 0 to 1, or as 200steps, or as 3epochs."
        )
    return int(share * steps)
