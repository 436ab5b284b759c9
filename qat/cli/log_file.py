"""The log of a run: every line that it shows, in a file of its own beside the results."""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

import qat
from qat.errors import QatError

_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours, and what moves a terminal's cursor
_CLEARED = re.compile(
    r".*\x1b\[2K", re.DOTALL
)  # up to where a bar was wiped away, so that text could stand in its place
_BAR = re.compile(r"\d+/\d+ \d+:\d\d:\d\d")  # a bar's count and time


@contextmanager
def logged(path: Path, title: str) -> Iterator[None]:
    """Append to `path` what the block shows on stdout and stderr, a time before each line, and what ended it."""
    from qat.reporting.progress import LOG_ONLY  # brings NumPy

    with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as file:
        _line(file, f"{time.strftime('%Y-%m-%d')} qat {qat.__version__}: {title}")
        handler = _Handler(file)
        LOG_ONLY.addHandler(handler)
        try:
            with redirect_stdout(_Copied(sys.stdout, file)), redirect_stderr(_Copied(sys.stderr, file)):
                yield
        except (QatError, KeyboardInterrupt, SystemExit) as error:
            _line(file, f"ended by {type(error).__name__}: {error}")
            raise
        except Exception:
            _line(file, traceback.format_exc())
            raise
        finally:
            LOG_ONLY.removeHandler(handler)


class _Copied:
    """A stream whose finished lines are written into the log as well; bars that paint over themselves are not."""

    def __init__(self, stream: TextIO, file: TextIO) -> None:
        self._stream, self._file, self._begun = stream, file, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in (_STEERING.sub("", _CLEARED.sub("", line)).rstrip("\r") for line in lines):
            if "\r" not in line and not _BAR.search(line):
                _line(self._file, line)
        return self._stream.write(text)

    def close(self) -> None:
        """Nothing: the stream is the process's. absl's handler closes what it kept of an earlier job of a sweep."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class _Handler(logging.Handler):
    """Lines for the log alone: what bars show on a terminal."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        _line(self._file, record.getMessage())


def _line(file: TextIO, text: str) -> None:
    plain = _STEERING.sub("", text).rstrip()
    if plain and not file.closed:
        file.write("".join(f"{time.strftime('%H:%M:%S')} {line}\n" for line in plain.splitlines()))
