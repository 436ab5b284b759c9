"""Wrap text for a terminal: sentences are wrapped, paths and commands stay on one line. Stdlib only."""

from __future__ import annotations

import os
import re
import textwrap
from typing import TextIO

USUAL = 80
_PAIR = re.compile(r"(?<=\w) = (?=[-+]?\d)|(?<=\d) (?=(?:%|[KMG]iB|ms|points)(?:\W|$))")  # `p = 0.2`, `98.25 %`
_NO_BREAK = "\xa0"  # a space at which no line is broken
_SENTENCE = " " * 4  # the indent of a sentence that belongs to the line above


def columns_of(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream writes to; None for a file or a pipe."""
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL
    except (OSError, ValueError):
        return USUAL


def wrap(text: str, columns: int | None) -> str:
    """Wrap text into lines of at most `columns`; a number stays on one line with its name and unit.

    A line that begins with two or three spaces (a path, a command, a table's row) is not wrapped.

    Args:
        text: lines of any length.
        columns: characters per line of the terminal; None returns the text unchanged.

    Returns:
        The wrapped lines; the indent of a sentence is repeated.

    >>> print(wrap("is your file: 98.25 %\\n  a/long/path.tflite\\n      and a sentence", 16))
    is your file:
    98.25 %
      a/long/path.tflite
          and a
          sentence
    """
    if columns is None:
        return text
    return "\n".join(_wrap_line(line, columns) for line in text.split("\n"))


def _wrap_line(line: str, columns: int) -> str:
    if len(line) <= columns or (line.startswith(" ") and not line.startswith(_SENTENCE)):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    unbroken = _PAIR.sub(lambda match: match[0].replace(" ", _NO_BREAK), line)
    lines = textwrap.fill(unbroken, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace(_NO_BREAK, " ")
