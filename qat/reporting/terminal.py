"""Text as a terminal shows it: sentences wrapped, paths and commands whole on lines of their own."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path


def width() -> int | None:
    """Columns of the terminal; None where text goes to a file or a pipe, which has no width."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrapped(text: str, columns: int | None) -> str:
    """Lines of at most `columns`; what begins with a space (a path, a command, a table's row) stays one line.

    >>> print(wrapped("is your file: 98.25 %\\n  a/long/path.tflite", 12))
    is your
    file: 98.25
    %
      a/long/path.tflite
    """
    if columns is None:
        return text
    return "\n".join(line if _fits(line, columns) else _folded(line, columns) for line in text.split("\n"))


def say(text: str) -> None:
    print(wrapped(text, width()), flush=True)


def _fits(line: str, columns: int) -> bool:
    return len(line) <= columns or line.startswith(" ")


def _folded(line: str, columns: int) -> str:
    return textwrap.fill(line, columns, break_long_words=False, break_on_hyphens=False)


def near(path: Path) -> Path:
    """Relative to the working directory where it lies below it."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
