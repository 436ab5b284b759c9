"""Metadata of a config field: its choices or limits, and what it has an effect on. Stdlib only.

Checks, `--help`, the options page, resumed sweeps, the float cache and comparisons all read it from the field.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

RESULT = "result"  # what is learned, or how a file computes
FILES = "files"  # what is measured, drawn or written in addition
NOTHING = "nothing"  # speed, places of files, messages

_KEY = "setting"


@dataclass(frozen=True, slots=True)
class Setting:
    """The values that a field accepts, beyond its type; null is accepted where the type allows it."""

    choices: tuple[str, ...] = ()  # empty: any value of its type
    low: float = -math.inf
    high: float = math.inf
    effect: str = RESULT

    @property
    def expected(self) -> str:
        """The accepted values in words, for errors and `--help`; empty where any value of the type is accepted.

        >>> Setting(choices=("auto", "off")).expected, Setting(low=1).expected, Setting(low=0, high=255).expected
        ('one of auto, off', 'at least 1', 'a number from 0 to 255')
        """
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if math.isinf(self.low):
            return ""
        top = self.high if isinstance(self.high, int) else f"{self.high:g}"
        return f"at least {self.low:g}" if math.isinf(self.high) else f"a number from {self.low:g} to {top}"

    def takes(self, value: Any) -> bool:
        """Whether a value of the field's type is accepted."""
        if self.choices:
            return value in self.choices
        return value is None or math.isinf(self.low) or self.low <= value <= self.high


def setting(
    default: object,
    *,
    choices: Sequence[str] = (),
    low: float = -math.inf,
    high: float = math.inf,
    effect: str = RESULT,
) -> Any:
    """A field of a config dataclass.

    Args:
        default: its default value; a list or a dictionary is copied for each config.
        choices: the accepted values; empty accepts any value of the type.
        low, high: the smallest and the largest accepted number.
        effect: RESULT, FILES or NOTHING.

    Returns:
        What `dataclasses.field` returns, with a `Setting` in its metadata.
    """
    metadata = {_KEY: Setting(tuple(choices), low, high, effect)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def section(kind: type, *, effect: str = RESULT) -> Any:
    """A field that is a config dataclass itself.

    Args:
        kind: the dataclass.
        effect: RESULT, FILES or NOTHING, for all of its fields that have no effect of their own.

    Returns:
        What `dataclasses.field` returns, with a `Setting` in its metadata.
    """
    return field(default_factory=kind, metadata={_KEY: Setting(effect=effect)})


@functools.cache
def settings_of(schema: type) -> dict[str, Setting]:
    """Every setting of a config by its dotted key, those of its sections included."""
    return dict(_walk(schema, "", RESULT))


def without_effect(schema: type, *effects: str) -> frozenset[str]:
    """The dotted keys of all settings that have no other effect than `effects`."""
    return frozenset(key for key, each in settings_of(schema).items() if each.effect in effects)


def _walk(schema: type, prefix: str, inherited: str) -> Iterator[tuple[str, Setting]]:
    hints = typing.get_type_hints(schema)
    for each in dataclasses.fields(schema):
        own: Setting = each.metadata.get(_KEY, Setting())
        effect = inherited if own.effect == RESULT else own.effect
        if dataclasses.is_dataclass(hints[each.name]):
            yield from _walk(typing.cast(type, hints[each.name]), f"{prefix}{each.name}.", effect)
        else:
            yield f"{prefix}{each.name}", dataclasses.replace(own, effect=effect)
