"""What a file that anybody may have written can cost at most: bytes, pixels, ops, seconds. Settings. Stdlib only."""

from __future__ import annotations

import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from qat.errors import ConfigError, DataError

MB = 1 << 20

DAMAGE: tuple[type[BaseException], ...] = (
    *(OSError, KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError, OverflowError, EOFError),
    *(RecursionError, NotImplementedError, AssertionError, SyntaxError, MemoryError, struct.error),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
"""What Python's and NumPy's readers raise for bytes that are not what they should be."""


@dataclass(slots=True, kw_only=True)
class Limits:
    """Every limit, as `limits.*` of the commands' configs.

    Attributes:
        file_mb: content of one model or data file, uncompressed.
        text_mb: one JSON or YAML file, or the config in a model.
        memory_mb: a child process that reads a model or a `.tflite`; raised where the file itself is large.
        seconds: of such a child, for one file or one call.
        image_megapixels: one image, decoded.
        input_mb: one model input, as float32.
        unrolled_ops: ops that the recurrent layers of a model are written out into; 1,000 take some 15 seconds.
    """

    file_mb: int = 2048
    text_mb: int = 64
    memory_mb: int = 4096
    seconds: int = 120
    image_megapixels: int = 64
    input_mb: int = 256
    unrolled_ops: int = 3000

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1 << 30:
                raise ConfigError(f"limits.{each.name}={value}: expected a whole number from 1")


_in_force = Limits()  # of the whole process: images are decoded in threads, too


def current() -> Limits:
    """The limits that hold here.

    >>> with use(Limits(seconds=5)): current().seconds
    5
    """
    return _in_force


@contextmanager
def use(limits: Limits) -> Iterator[None]:
    """Let `limits` hold within the block, in all threads."""
    before = _in_force
    set_for_process(limits)
    try:
        yield
    finally:
        set_for_process(before)


def set_for_process(limits: Limits) -> None:
    """Let `limits` hold from here on."""
    global _in_force
    _in_force = limits


def too_large(what: object, size_bytes: float, key: str, kind: type[Exception] = DataError) -> Exception:
    """The refusal of something that is larger than `limits.<key>`: names it, its size and the limit."""
    limit = getattr(current(), key)
    return kind(
        f"{what}: {size_bytes / MB:,.0f} MB, more than limits.{key}={limit} allows. "
        f"If you know what it is, set limits.{key} higher"
    )


def check_size(what: object, size_bytes: float, key: str, kind: type[Exception] = DataError) -> None:
    """Refuse what is larger than `limits.<key>` (in MB).

    Raises:
        kind: names `what`, its size and the limit.
    """
    if size_bytes > getattr(current(), key) * MB:
        raise too_large(what, size_bytes, key, kind)


def read_file(path: str | Path, key: str = "file_mb", kind: type[Exception] = DataError) -> bytes:
    """The bytes of a regular file, refused where it is larger than `limits.<key>`, or a pipe, socket or device.

    Raises:
        OSError: it cannot be opened.
        kind: it is no regular file, or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))  # a pipe would wait for ever
    with os.fdopen(descriptor, "rb") as file:
        check_regular(path, os.fstat(descriptor), key, kind)
        return file.read(getattr(current(), key) * MB + 1)


def check_regular(path: object, found: os.stat_result, key: str, kind: type[Exception] = DataError) -> None:
    """Refuse what is no regular file, and what is larger than `limits.<key>`.

    Raises:
        IsADirectoryError: a folder.
        kind: a pipe, socket or device, or too large a file.
    """
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(21, "is a folder", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise kind(f"{path}: a pipe, socket or device, not a regular file; copy what it gives into a file first")
    check_size(path, found.st_size, key, kind)
