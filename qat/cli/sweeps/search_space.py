"""The search space of a sweep: swept overrides of the command line as distributions of Optuna."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from qat.errors import ConfigError


def make_search_space(overrides: Iterable[Override]) -> tuple[dict[str, Any], list[str]]:
    """Make Optuna distributions of the swept overrides, by key; and list the others, which every trial has.

    `a,b,c` and `choice(…)` are categories, `range(1,9)` integers or floats in steps, `interval(1e-5,1e-3)` floats,
    `int(interval(1,9))` integers; `tag(log,…)` samples them on a logarithmic scale.

    Raises:
        ConfigError: an interval or range without two ordered numbers, or a sweep that Optuna has no distribution for.
    """
    space: dict[str, Any] = {}
    fixed = []
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override():
            space[key] = _distribution(override)
        else:
            fixed.append(f"{key}={override.get_value_element_as_str()}")
    return space, fixed


def _distribution(override: Override) -> Any:
    from optuna.distributions import CategoricalDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        return _interval(override.get_key_element(), value)
    if isinstance(value, RangeSweep) and not value.shuffle:
        return _range(override.get_key_element(), value)
    if isinstance(value, (ChoiceSweep, RangeSweep)) or override.is_discrete_sweep():
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    raise ConfigError(f"{override.input_line}: hydra/sweeper=optuna takes a,b,c, range(…) and interval(…).")


def _interval(key: str, sweep: IntervalSweep) -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = sweep.start, sweep.end
    if low is None or high is None or low >= high:
        raise ConfigError(f"{key}=interval({low},{high}): expected two numbers, the smaller first.")
    is_integer = isinstance(low, int) and isinstance(high, int)
    try:
        return (IntDistribution if is_integer else FloatDistribution)(low, high, log="log" in sweep.tags)
    except ValueError as error:
        raise ConfigError(f"{key}=interval({low},{high}): {error}") from error


def _range(key: str, sweep: RangeSweep) -> Any:
    from optuna.distributions import FloatDistribution, IntDistribution

    start, stop, step = sweep.start, sweep.stop, sweep.step
    if start is None or stop is None or step <= 0 or start >= stop:
        raise ConfigError(f"{key}=range({start},{stop},{step}): expected start below stop and a step above 0.")
    values = list(sweep.range())  # stop itself is no part of it
    kind = IntDistribution if all(isinstance(value, int) for value in values) else FloatDistribution
    return kind(values[0], values[-1], step=step)
