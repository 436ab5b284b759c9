"""Metadata of a config field: its choices or limits, and what it has an effect on. Stdlib only.

Checks, `--help`, the options page, resumed sweeps, the float cache and comparisons all read it from the field.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from numbers import Integral, Real
from operator import attrgetter
from typing import Any

RESULT = "result"  # what is learned, or how a file computes
CHANCE = "chance"  # luck alone: results differ as between seeds
FILES = "files"  # what is measured, drawn or written in addition
NOTHING = "nothing"  # speed, places of files, messages

MANY = 10**9  # more than any count that makes sense: a limit that is named only to who passes it

_KEY = "setting"
_WORDS = {bool: "True or False", int: "an integer", float: "a number", str: "a text", type(None): "None"}
_PLURALS = {int: "integers", float: "numbers", str: "texts"}
_NUMPY_BOOLEANS = (("numpy", "bool"), ("numpy", "bool_"))


@dataclass(frozen=True, slots=True)
class Setting:
    """The values that a field accepts, beyond its type; null is accepted where the type allows it.

    Numbers are finite, and texts hold more than blanks.
    """

    choices: tuple[str | int, ...] = ()  # empty: any value of its type
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf  # as low, which is not accepted itself
    below: float = math.inf
    effect: str = RESULT
    has_sections: bool = False  # a list of sections, as {key: value}, and not of texts or numbers

    @property
    def expected(self) -> str:
        """The accepted values in words, for errors and `--help`; empty where any value of the type is accepted.

        >>> Setting(choices=("auto", "off")).expected, Setting(low=1).expected, Setting(low=0, high=255).expected
        ('one of auto, off', 'at least 1', 'a number from 0 to 255')
        >>> Setting(above=0).expected, Setting(low=0, below=1).expected, Setting(above=0, below=1).expected
        ('a number above 0', 'a number from 0 to below 1', 'a number above 0 and below 1')
        """
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        bounded = math.isfinite(self.low)
        ends = [
            f"above {_show(self.above)}" if math.isfinite(self.above) else "",
            f"from {_show(self.low)}" if bounded else "",
            f"to {_show(self.high)}" if self.high != MANY and math.isfinite(self.high) else "",
            f"{'to' if bounded else 'and'} below {_show(self.below)}" if math.isfinite(self.below) else "",
        ]
        given = [each for each in ends if each]
        return f"at least {_show(self.low)}" if given == ends[1:2] else f"a number {' '.join(given)}" if given else ""

    def takes(self, value: Any) -> bool:
        """Whether a value of the field's type is accepted; a list, where each of its values is."""
        if isinstance(value, list | tuple):
            return all(self._takes_entry(each) for each in value)
        if value is None or isinstance(value, bool):
            return True
        if self.choices:
            return value in self.choices
        if isinstance(value, str):
            return bool(value.strip()) and "\0" not in value
        if not isinstance(value, int | float):
            return True
        return self.low <= value <= self.high and self.above < value < self.below  # no infinity is, and no NaN

    def _takes_entry(self, value: Any) -> bool:
        return self.takes(value) and (self.has_sections or not isinstance(value, list | tuple | dict))


def _show(number: float) -> str:
    """
    >>> _show(255), _show(2**31 - 1), _show(1e-3)
    ('255', '2147483647', '0.001')
    """
    return str(number) if isinstance(number, int) else f"{number:g}"


def setting(
    default: object,
    *,
    choices: Sequence[str | int] = (),
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    effect: str = RESULT,
    has_sections: bool = False,
) -> Any:
    """A field of a config dataclass.

    Args:
        default: the field's default value; a list or a dictionary is copied for each config.
        choices: the accepted values; empty accepts any value of the type.
        low, high: the smallest and the largest accepted number, themselves accepted; infinite for no limit.
        above, below: limits that are not accepted themselves; infinite for no limit.
        effect: what depends on it: RESULT, what is learned and how a file computes; CHANCE, luck alone, as between
            seeds; FILES, what is written in addition; NOTHING, speed and messages.
        has_sections: the field is a list of sections, as {key: value}, and not of texts or numbers.

    Returns:
        What `dataclasses.field` returns, with a `Setting` in its metadata.
    """
    metadata = {_KEY: Setting(tuple(choices), low, high, above, below, effect, has_sections)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def section(kind: type, *, effect: str = RESULT) -> Any:
    """A field that is a config dataclass itself.

    Args:
        kind: the dataclass; each config gets an instance of its own.
        effect: RESULT, FILES or NOTHING, for all of its fields that have no effect of their own.

    Returns:
        What `dataclasses.field` returns, with a `Setting` in its metadata.
    """
    return field(default_factory=kind, metadata={_KEY: Setting(effect=effect)})


@functools.cache
def settings_of(schema: type) -> dict[str, Setting]:
    """Every setting of a config by its dotted key, those of its sections included."""
    return dict(_walk(schema, "", RESULT))


def describe_refused_values(config: Any, prefix: str = "") -> Iterator[str]:
    """Describe each value of a config that its field does not accept.

    Args:
        config: an instance of a config dataclass, or of a section of it.
        prefix: dotted key of the section with a dot at its end, as "model."; "" for a whole config.

    Yields:
        One sentence per refused value: the key, its value, what was expected.
    """
    schema: type = type(config)
    for key, each in settings_of(schema).items():
        value = attrgetter(key)(config)
        if not each.takes(value):
            yield f"{prefix}{key}={value}: expected {_describe_refusal(each, value)}."


def _describe_refusal(setting: Setting, value: Any) -> str:
    if isinstance(value, list | tuple):
        value = next(each for each in value if not setting._takes_entry(each))
        if isinstance(value, list | tuple | dict):
            return f"a list of texts or of numbers, and {value} is none"
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if isinstance(value, int) and value > setting.high:
        return f"at most {_show(setting.high)}"
    return setting.expected or ("a text that is not blank" if isinstance(value, str) else "finite numbers")


def describe_wrong_types(config: Any, prefix: str = "") -> Iterator[str]:
    """Describe each value of a config that is not of its field's type; a command line has them checked by OmegaConf.

    Args:
        config: an instance of a config dataclass; its fields' annotations say the types, those of its sections too.
        prefix: what stands before each key, with a dot at its end, as "config."; "" for nothing.

    Yields:
        One sentence per value: the key, its value, what was expected.
    """
    hints = typing.get_type_hints(type(config))
    for each in dataclasses.fields(config):
        key, value, kind = f"{prefix}{each.name}", getattr(config, each.name), hints[each.name]
        if dataclasses.is_dataclass(kind) and isinstance(value, typing.cast(type, kind)):
            yield from describe_wrong_types(value, f"{key}.")
        elif not _is_of_type(value, kind):
            yield f"{key}={value!r}: expected {_describe_kind(kind, value)}."


def is_boolean(value: Any) -> bool:
    """Whether a value is True or False, of Python or of NumPy; 1 and "true" are neither."""
    return isinstance(value, bool) or (type(value).__module__, type(value).__name__) in _NUMPY_BOOLEANS


def _is_of_type(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_is_of_type(value, each) for each in arguments)
    if origin is list:
        is_list = isinstance(value, Sequence | Set) and not isinstance(value, str)
        return is_list and all(_is_of_type(each, arguments[0]) for each in value)
    if origin is dict:
        return isinstance(value, Mapping) and all(_is_of_type(each, arguments[0]) for each in value)
    if kind is bool:
        return is_boolean(value)
    return isinstance(value, {int: Integral, float: Real}.get(kind, kind)) and not is_boolean(value)


def _describe_kind(kind: Any, value: Any) -> str:
    """A type in words, as Python has its values; with how a value that is nearly of the type is written."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe_kind(each, value) for each in arguments)
    if origin is list:
        example = f", as {[value]!r}" if isinstance(value, str) else ""
        return f"a list of {_PLURALS.get(arguments[0], 'values')}{example}"
    if origin is dict:
        return "a dictionary whose keys are texts"
    if dataclasses.is_dataclass(kind):
        name = f"{kind.__module__}.{typing.cast(type, kind).__name__}"
        entries = value if isinstance(value, dict) else {}
        return f"an object {name}({', '.join(f'{key}={each!r}' for key, each in entries.items())})"
    return _WORDS.get(kind, str(kind))


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
