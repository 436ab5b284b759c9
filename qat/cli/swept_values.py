"""The values that a sweep gives to a key, as many as one sweep may have."""

from __future__ import annotations

from itertools import islice
from math import isfinite

from hydra.core.override_parser.types import Override, RangeSweep

from qat.errors import ConfigError

MOST_JOBS = 10_000  # of one sweep: each is checked before the first begins


def list_swept_values(override: Override) -> list[str]:
    """List the values of `key=a,b` or `key=range(0,3)`.

    Args:
        override: a parsed override that is a discrete sweep.

    Returns:
        Each value as it is typed, at most `MOST_JOBS`.

    Raises:
        ConfigError: there are more values, which could take all memory, or a range that never ends.
    """
    key, value = override.get_key_element(), override.value()
    if isinstance(value, RangeSweep) and not (value.step and all(map(isfinite, (value.start, value.stop, value.step)))):
        raise ConfigError(f"{key}: range({value.start},{value.stop},{value.step}) never ends. Give numbers and a step.")
    is_large = isinstance(value, RangeSweep) and abs((value.stop - value.start) / value.step) > MOST_JOBS
    values = [] if is_large else list(islice(override.sweep_string_iterator(), MOST_JOBS + 1))
    if is_large or len(values) > MOST_JOBS:
        raise ConfigError(f"{key}: more than {MOST_JOBS:,} values, and a sweep has at most so many jobs. Give fewer.")
    return values
