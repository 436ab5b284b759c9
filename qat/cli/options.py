"""Every setting of a command with its type, default and meaning, which is the comment behind it in `qat.config`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qat.setting import settings_of

COMMAND_LINE_NAMES = {"samples_from": "data"}  # on the command line of qat.diagnose
_TYPE_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
_EXAMPLES = {  # of lists, by the last part of their keys
    "image_size": "[96, 96]",
    "range": "[-1, 1]",
    "mean": "[0.485, 0.456, 0.406]",
    "std": "[0.229, 0.224, 0.225]",
    "sizes": "[96, 96, 3]",
    "label_names": "[cat, dog]",
    "beside": "[qat_tfmot]",
    "io": "[int8, float32]",
    "objectives": "[accuracy, size_bytes]",
}
_FIELD = re.compile(r"^    (\w+): .*?(?:\s\s# (.*))?$")
_ABOVE = re.compile(r"^    # (.*)$")
_ATTRIBUTE = re.compile(r"^        (\w+): (.+)$")  # of a docstring that describes all settings of a class


@dataclass(frozen=True)
class SettingHelp:
    """What `--help` and the page of options say of one setting."""

    key: str
    type: str  # in words
    default: Any
    meaning: str
    expected: str = ""  # of its values, beyond the type

    @property
    def accepted(self) -> str:
        """The accepted values in words: the limits or choices where there are some, those of each value for a list."""
        if self.expected and self.type.startswith("a list"):
            return f"{self.type}; each {self.expected}"
        return self.expected or self.type


def list_settings(schema: type, prefix: str = "") -> Iterator[SettingHelp]:
    """List the settings of a section and of the sections in it, in their order.

    >>> from qat.config import Config
    >>> {each.key: each.meaning for each in list_settings(Config)}["quant.distillation.weight"]
    "share of the teacher's loss, 0-1; 0 = off"

    Args:
        schema: the dataclass of the section.
        prefix: dotted key of the section with a dot at its end; "" for a whole config.

    Returns:
        One entry per setting: key, type in words, default, meaning, limits or choices; sections themselves have none.
    """
    hints, meanings = typing.get_type_hints(schema), _meanings(schema)
    for each in dataclasses.fields(schema):
        kind = hints[each.name]
        if dataclasses.is_dataclass(kind):
            yield from list_settings(typing.cast(type, kind), f"{prefix}{each.name}.")
        else:
            words = "" if kind is Any else describe_type(kind, each.name)
            expected = settings_of(schema)[each.name].expected
            yield SettingHelp(f"{prefix}{each.name}", words, _default(each), meanings.get(each.name, ""), expected)


def find_meaning(key: str, schema: type) -> str:
    """Find what a setting means.

    Args:
        key: dotted key of a setting, such as "train.epochs".
        schema: the dataclass of the whole config.

    Returns:
        The comment behind its field, with its unit; "" where there is none.
    """
    return next((setting.meaning for setting in list_settings(schema) if setting.key == key), "")


def describe_type(kind: type | types.UnionType | types.GenericAlias, key: str = "") -> str:
    """Describe a type in plain words.

    >>> describe_type(int), describe_type(list[float] | None, "data.range")
    ('an integer', 'a list of numbers, as [-1, 1], or null')

    Args:
        kind: annotation of the field, such as `int | None`.
        key: dotted key of the setting, whose last part chooses the example of a list; "" takes a general one.

    Returns:
        Words for the place after "expected", such as "an integer or null".
    """
    if kind in _TYPE_WORDS:
        return _TYPE_WORDS[kind]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        inner = [argument for argument in typing.get_args(kind) if argument is not type(None)]
        types_text = " or ".join(describe_type(argument, key) for argument in inner)
        separator = ", or null" if types_text.startswith("a list") else " or null"
        return types_text + separator
    if typing.get_origin(kind) is list:
        plural = {int: "integers", float: "numbers", str: "texts"}.get(typing.get_args(kind)[0], "values")
        usual = "[a, b]" if plural in ("texts", "values") else "[1, 2]"
        return f"a list of {plural}, as {_EXAMPLES.get(key.rpartition('.')[2], usual)}"
    if typing.get_origin(kind) is dict:
        return "a section, as {key: value}"
    return "a section with keys of its own" if dataclasses.is_dataclass(kind) else "another type"


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@functools.cache
def _meanings(schema: type) -> dict[str, str]:
    meanings: dict[str, str] = {}
    above = ""
    for line in inspect.getsource(schema).splitlines():
        comment, field, attribute = _ABOVE.match(line), _FIELD.match(line), _ATTRIBUTE.match(line)
        if field:
            behind = field.group(2) or ""
            meanings.setdefault(field.group(1), f"{above}: {behind}" if above and behind else above or behind)
            above = ""
        elif attribute:
            meanings[attribute.group(1)] = attribute.group(2)
        elif comment:
            above = f"{above} {comment.group(1)}".strip()
    return meanings
