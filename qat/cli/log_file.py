"""The log of a run: every line that it prints, in a file in the folder of its results."""

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
from qat.errors import QatError, RunDirError

_ESCAPE_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours, and what moves a terminal's cursor
_CLEARED_LINE = re.compile(r".*\x1b\[2K", re.DOTALL)  # a progress bar that was erased to print text in its line
_BAR = re.compile(r"\d+/\d+ \d+:\d\d:\d\d")  # count and time of a progress bar


@contextmanager
def log_to_file(path: Path, title: str) -> Iterator[None]:
    """Append to a file what the block prints on stdout and stderr, a time before each line, and how it ended.

    Args:
        path: path of the log, a text file in UTF-8; made where there is none.
        title: what is run, as the command's name, for the first line.

    Returns:
        A context manager, within which stdout and stderr are copied.

    Raises:
        RunDirError: an error ended the block, and the log had been removed: whatever is missing lay in its folder.
    """
    from qat.reporting.progress import LOG_ONLY  # brings NumPy

    with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as file:
        _write_line(file, f"{time.strftime('%Y-%m-%d')} qat {qat.__version__}: {title}")
        handler = _Handler(file)
        LOG_ONLY.addHandler(handler)
        try:
            with redirect_stdout(_CopyToLog(sys.stdout, file)), redirect_stderr(_CopyToLog(sys.stderr, file)):
                yield
        except (QatError, KeyboardInterrupt, SystemExit) as error:
            _write_line(file, f"ended by {type(error).__name__}: {error}")
            _refuse_removed(path, error)
            raise
        except Exception as error:
            _write_line(file, traceback.format_exc())
            _refuse_removed(path, error)
            raise
        finally:
            LOG_ONLY.removeHandler(handler)


def _refuse_removed(path: Path, error: BaseException) -> None:
    if isinstance(error, Exception) and not path.exists():
        raise RunDirError(
            f"{path.parent}: this folder, or what lay in it, was removed while the run wrote into it ({error}). Start "
            "the run again, and leave its folder as it is until it ends."
        ) from error


class _CopyToLog:
    """A stream whose finished lines are written into the log as well; progress bars are not."""

    def __init__(self, stream: TextIO, file: TextIO) -> None:
        self._stream, self._file, self._unfinished_line = stream, file, ""

    def write(self, text: str) -> int:
        *lines, self._unfinished_line = (self._unfinished_line + text).split("\n")
        for line in (_ESCAPE_CODES.sub("", _CLEARED_LINE.sub("", line)).rstrip("\r") for line in lines):
            if "\r" not in line and not _BAR.search(line):
                _write_line(self._file, line)
        return self._stream.write(text)

    def close(self) -> None:
        """Do nothing: the stream is the process's, and absl's handler closes streams of earlier jobs of a sweep."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class _Handler(logging.Handler):
    """Lines for the log alone, in place of the progress bars of a terminal."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        _write_line(self._file, record.getMessage())


def _write_line(file: TextIO, text: str) -> None:
    plain = _ESCAPE_CODES.sub("", text).rstrip()
    if plain and not file.closed:
        file.write("".join(f"{time.strftime('%H:%M:%S')} {line}\n" for line in plain.splitlines()))
