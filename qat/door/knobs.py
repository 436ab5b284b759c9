"""Every knob of a command with its type, default and meaning, which is the comment behind it in `qat.config`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qat.door.explain import type_words

_FIELD = re.compile(r"^    (\w+): .*?(?:\s\s# (.*))?$")
_ABOVE = re.compile(r"^    # (.*)$")
_ATTRIBUTE = re.compile(r"^        (\w+): (.+)$")  # of a docstring, where all knobs of a class are told together


@dataclass(frozen=True)
class Knob:
    key: str
    type: str  # in words
    default: Any
    meaning: str


def knobs(schema: type, prefix: str = "") -> Iterator[Knob]:
    """Those of a section and of the sections in it, in their order.

    >>> from qat.config import Config
    >>> {knob.key: knob.meaning for knob in knobs(Config)}["quant.distillation.weight"]
    "share of the teacher's loss, 0-1; 0 = off"
    """
    hints, meanings = typing.get_type_hints(schema), _meanings(schema)
    for each in dataclasses.fields(schema):
        kind = hints[each.name]
        if dataclasses.is_dataclass(kind):
            yield from knobs(typing.cast(type, kind), f"{prefix}{each.name}.")
        else:
            words = "" if kind is Any else type_words(kind)
            yield Knob(f"{prefix}{each.name}", words, _default(each), meanings.get(each.name, ""))


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@functools.cache
def _meanings(schema: type) -> dict[str, str]:
    found: dict[str, str] = {}
    above = ""
    for line in inspect.getsource(schema).splitlines():
        comment, field, attribute = _ABOVE.match(line), _FIELD.match(line), _ATTRIBUTE.match(line)
        if field:
            told = field.group(2) or ""
            found.setdefault(field.group(1), f"{above}: {told}" if above and told else above or told)
            above = ""
        elif attribute:
            found[attribute.group(1)] = attribute.group(2)
        elif comment:
            above = f"{above} {comment.group(1)}".strip()
    return found
