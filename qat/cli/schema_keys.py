"""Keys of a config and their types, read from its dataclass."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterator
from typing import Any

hints_of = functools.cache(typing.get_type_hints)  # which compiles each annotation anew


def section_type(schema: type, section: str) -> type | None:
    """The dataclass of a section.

    Args:
        schema: the dataclass of the whole config.
        section: dotted key, such as "quant.calibration"; "" for `schema` itself.

    Returns:
        The dataclass; None where there is no such section, or the key is a setting.
    """
    kind = schema if not section else key_type(schema, section)
    return kind if dataclasses.is_dataclass(kind) else None


def key_type(schema: type, key: str) -> Any:
    """The type of a setting.

    Args:
        schema: the dataclass of the whole config.
        key: dotted, such as "train.epochs".

    Returns:
        The annotation in its dataclass, such as `int | None`; None where there is no such key.
    """
    kind: Any = schema
    for name in key.split("."):
        if not dataclasses.is_dataclass(kind):
            return None
        kind = hints_of(kind).get(name)
    return kind


def all_keys(schema: type, prefix: str = "") -> Iterator[str]:
    """All keys of a config, sections included, each section before what is in it.

    Args:
        schema: the dataclass of the config.
        prefix: what stands before each key, with a dot at its end; "" for the whole config.

    Returns:
        Dotted keys, such as "train" and "train.epochs".
    """
    for name, kind in hints_of(schema).items():
        yield prefix + name
        if dataclasses.is_dataclass(kind):
            yield from all_keys(kind, f"{prefix}{name}.")


def list_open_sections(schema: type) -> Iterator[str]:
    """Dotted keys of the sections of type `dict`, which take any key."""
    return (key for key in all_keys(schema) if typing.get_origin(key_type(schema, key)) is dict)
