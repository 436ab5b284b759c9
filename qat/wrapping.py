"""Wrap text for a terminal: sentences are wrapped, paths and commands stay on one line. Stdlib only."""

from __future__ import annotations

import os
import re
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from itertools import takewhile
from typing import TextIO

USUAL = 80
_PAIR = re.compile(r"(?<=\w) = (?=[-+]?\d)|(?<=\d) (?=(?:%|[KMG]iB|ms|points)(?:\W|$))")  # `p = 0.2`, `98.25 %`
_NO_BREAK = "\xa0"  # a space at which no line is broken
_SECOND_COLUMN = "\x7f"  # stands behind a character that takes two
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


def count_columns(line: str) -> int:
    """Columns that a terminal takes for a line: two for Chinese, Japanese and Korean, none for marks on letters.

    >>> count_columns("conv"), count_columns("卷积"), count_columns("e\u0301")
    (4, 4, 1)
    """
    if line.isascii():
        return len(line)
    return sum(1 + _is_wide(each) for each in line if unicodedata.category(each) not in ("Mn", "Me", "Cf"))


def pad(cell: str, columns: int, *, to_the_right: bool = False) -> str:
    """A cell with as many spaces as fill its columns.

    Args:
        cell: text of at most `columns` columns.
        columns: width of the terminal's column, in characters of a Latin script.
        to_the_right: put the spaces in front, as of a number.

    Returns:
        The cell, spaces behind or in front of it.
    """
    spaces = " " * (columns - count_columns(cell))
    return spaces + cell if to_the_right else cell + spaces


def shorten(text: str, columns: int) -> str:
    """The text, an ellipsis for its middle where it is too long: names of layers and classes differ at both ends.

    >>> shorten("block_12_depthwise_BN", 12), shorten("short", 6), shorten("短的名字", 6)
    ('block…ise_BN', 'short', '短…字')

    Args:
        text: one line, of any length.
        columns: of the terminal, which it may take at most, the ellipsis included; 1 or more.

    Returns:
        The line, of `columns` columns at most.
    """
    short, kept = text, columns - 1
    while count_columns(short) > columns:
        behind = (kept + 1) // 2
        short, kept = f"{text[: kept - behind]}…{text[len(text) - behind :]}", kept - 1
    return short


def shorten_all(names: Sequence[str], columns: int) -> list[str]:
    """Names shortened so that those that differ still do: of names that would read the same, the beginning goes.

    >>> shorten_all(["backbone_stage_1_activation", "backbone_stage_2_activation"], 20)
    ['…tage_1_activation', '…tage_2_activation']

    Args:
        names: one line of text each.
        columns: of the terminal, which each may take at most; 8 or more.

    Returns:
        One line per name, in their order.
    """
    short = [shorten(name, columns) for name in names]
    for text in [text for text in set(short) if short.count(text) > 1]:
        alike = [name for name, other in zip(names, short, strict=True) if other == text]
        same = takewhile(lambda characters: len(set(characters)) == 1, zip(*alike, strict=False))
        shared = len(list(same)) if len(set(alike)) > 1 else 0
        start = max(shared - columns // 4, 0)
        short = [
            f"…{shorten(name[start:], columns - 1)}" if start and other == text else other
            for name, other in zip(names, short, strict=True)
        ]
    return short


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def say(text: str, stream: TextIO | None = None) -> None:
    """Print sentences wrapped to the terminal's width; lines that begin with a space stay whole.

    Args:
        text: lines of any length.
        stream: what is written to; None: stdout.
    """
    stream = stream or sys.stdout
    print(wrap(text, columns_of(stream)), file=stream, flush=True)


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
    if count_columns(line) <= columns or (line.startswith(" ") and not line.startswith(_SENTENCE)):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    unbroken = _PAIR.sub(lambda match: match[0].replace(" ", _NO_BREAK), line)
    counted = "".join(each + _SECOND_COLUMN * _is_wide(each) for each in unbroken)
    lines = textwrap.fill(counted, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace(_NO_BREAK, " ").replace(_SECOND_COLUMN, "")
