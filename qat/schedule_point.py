"""A moment of a training as a config names it: a share of all steps, a step, or an epoch."""

from __future__ import annotations

import re

from qat.errors import ConfigError

_COUNTED = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(steps?|epochs?)\s*")


def step_of(value: float | str, steps: int, steps_per_epoch: int, key: str = "moment") -> int:
    """The step, counted from 0, before which it lies.

    Args:
        value: a share of `steps`, 0-1; or "200steps"; or "3epochs".
        steps: of the whole training.
        steps_per_epoch: needed where `value` counts epochs.
        key: of the config, for the message.

    Raises:
        ConfigError: something else.

    >>> [step_of(value, steps=1000, steps_per_epoch=100) for value in (0.25, "200steps", "1 step", "2.5epochs", "0.5")]
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
