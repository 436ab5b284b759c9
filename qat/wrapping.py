"""Text as a terminal shows it: sentences wrapped, paths and commands whole on lines of their own. Stdlib only."""

from __future__ import annotations

import os
import re
import textwrap
from typing import TextIO

USUAL = 80
_PAIR = re.compile(r"(?<=\w) = (?=[-+]?\d)|(?<=\d) (?=(?:%|[KMG]iB|ms|points)(?:\W|$))")  # `p = 0.2`, `98.25 %`
_WHOLE = "\xa0"  # a space at which no line is broken
_SENTENCE = " " * 4  # what is indented so far is a sentence that belongs to the line above


def columns_of(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream is shown on; None for a file or a pipe, which has no width."""
    if not stream.isatty():
        return None
    said = os.environ.get("COLUMNS", "")
    if said.isdigit() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL
    except (OSError, ValueError):
        return USUAL


def wrapped(text: str, columns: int | None) -> str:
    """Lines of at most `columns`, a number on one with its name and unit.

    What begins with two spaces (a path, a command, a table's row) stays one line.

    >>> print(wrapped("is your file: 98.25 %\\n  a/long/path.tflite\\n      and a sentence", 16))
    is your file:
    98.25 %
      a/long/path.tflite
          and a
          sentence
    """
    if columns is None:
        return text
    return "\n".join(_line(line, columns) for line in text.split("\n"))


def _line(line: str, columns: int) -> str:
    if len(line) <= columns or (line.startswith(" ") and not line.startswith(_SENTENCE)):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    paired = _PAIR.sub(lambda found: found[0].replace(" ", _WHOLE), line)
    filled = textwrap.fill(paired, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled.replace(_WHOLE, " ")
