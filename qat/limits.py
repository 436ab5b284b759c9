"""Limits for untrusted files: bytes, pixels, ops, seconds. They are settings. Stdlib only."""

from __future__ import annotations

import lzma
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
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError),
)
"""What Python's and NumPy's readers raise for damaged content."""


def count_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(slots=True, kw_only=True)
class Limits:
    """Every limit, as `limits.*` of the commands' configs.

    Attributes:
        file_mb: content of one model or data file, uncompressed.
        text_mb: one JSON or YAML file, or the config in a model.
        memory_mb: a child process that reads a file, raised where that is large; also a model's tensor for 4 samples.
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
                raise ConfigError(f"limits.{each.name}={value}: expected an integer from 1 to {1 << 30}")


_in_force = Limits()  # of the whole process: images are decoded in threads, too


def current() -> Limits:
    """The limits that apply now, in this process.

    >>> with use(Limits(seconds=5)): current().seconds
    5
    """
    return _in_force


@contextmanager
def use(limits: Limits) -> Iterator[None]:
    """Apply `limits` within the block, in all threads."""
    previous = _in_force
    set_for_process(limits)
    try:
        yield
    finally:
        set_for_process(previous)


def set_for_process(limits: Limits) -> None:
    """Apply `limits` from now on."""
    global _in_force
    _in_force = limits


def check_size(what: object, size_bytes: float, key: str, kind: type[Exception] = DataError) -> None:
    """Refuse something that is larger than `limits.<key>`.

    Args:
        what: name of what is measured, for the message; "" where a caller names it.
        size_bytes: its size in bytes.
        key: field of `Limits` that counts MB (2^20 bytes), as "file_mb".
        kind: class of the error to raise.

    Raises:
        kind: it is larger; the message names `what`, its size and the limit.
    """
    limit = getattr(current(), key)
    if size_bytes > limit * MB:
        raise kind(
            f"{_before_colon(what)}{size_bytes / MB:,.0f} MB, more than limits.{key}={limit} allows. "
            f"If you know what it is, set limits.{key} higher"
        )


def read_file(path: str | Path, key: str = "file_mb", kind: type[Exception] = DataError) -> bytes:
    """The bytes of a regular file of at most `limits.<key>`.

    Args:
        path: path of the file.
        key: field of `Limits` that counts MB, as "file_mb".
        kind: class of the error to raise.

    Returns:
        All of its content, at most `limits.<key>` MB.

    Raises:
        OSError: it cannot be opened.
        kind: it is a pipe, socket or device, or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))  # a pipe would block for ever
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        check_regular(path, status, key, kind)
        return file.read(status.st_size)  # Python reserves as much memory as is asked for


def _before_colon(what: object) -> str:
    return f"{what}: " if what else ""


def check_regular(path: object, status: os.stat_result, key: str, kind: type[Exception] = DataError) -> None:
    """Refuse a file that is no regular file, or larger than `limits.<key>`.

    Args:
        path: path of the file, for the message; "" where a caller names it.
        status: status of the open file, with its type and its size in bytes, as `os.fstat` returns it.
        key: field of `Limits` that counts MB, as "file_mb".
        kind: class of the error to raise.

    Raises:
        IsADirectoryError: a folder.
        kind: a pipe, socket or device, or too large a file.
    """
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(21, "is a folder", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise kind(
            f"{_before_colon(path)}a pipe, socket or device, not a regular file; copy what it gives into a file first"
        )
    check_size(path, status.st_size, key, kind)
