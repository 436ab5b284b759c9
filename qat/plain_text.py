"""Make text from untrusted files harmless for terminals, pages and spreadsheets. Stdlib only."""

from __future__ import annotations

import re
import unicodedata
from typing import TextIO
from urllib.parse import unquote

_ALLOWED = "\n\t\u200c\u200d"  # the last two join letters and emojis
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def writable(text: str) -> str:
    """Text in which characters that control a terminal or change the reading direction are shown by their number.

    >>> writable("a" + chr(0xdc80) + chr(0) + chr(27) + chr(0x9b) + chr(0x202e) + "b")
    'a\\\\udc80\\\\x00\\\\x1b\\\\x9b\\\\u202eb'
    """
    if text.isprintable():
        return text
    return "".join(each if _is_harmless(each) else _number(each) for each in text)


def one_line(text: str) -> str:
    """A text of an untrusted file as part of a line: a line break in it is shown by its number, too.

    >>> one_line("a" + chr(10) + "b")
    'a\\\\x0ab'
    """
    return "".join(_number(each) if each in "\n\t" else each for each in writable(text))


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8; names of files may hold bytes that cannot.

    >>> is_utf8("ü"), is_utf8(chr(0xdcff))
    (True, False)
    """
    return not any("\ud800" <= each <= "\udfff" for each in text)


def without_credentials(text: str) -> str:
    """Text whose addresses have no user and no password.

    >>> without_credentials("at http://me:s3cret@host:5000/a, not in file:///a@b")
    'at http://host:5000/a, not in file:///a@b'
    """
    return re.sub(r"(?<!file)(://)[^\s'\"]*@", r"\1", text)


def address_hint(path: object) -> str:
    """What to do with an address where the path of a file or folder is expected; "" for what is none.

    >>> address_hint("s3://bucket/a.npz")
    ' It is an address, and only files of this machine are read: download it first, and give the path of the copy.'
    >>> address_hint("file:///tmp/a.npz")
    ' It is an address: give the path alone: /tmp/a.npz'
    >>> address_hint("runs/a.npz"), address_hint("C:/a.npz")
    ('', '')

    Args:
        path: a text, or a `Path`, which keeps one slash of `://`.

    Returns:
        A sentence with a blank before it, or "".
    """
    if not re.match(r"[A-Za-z][\w+.-]+:/", str(path)):
        return ""
    if local := re.match(r"(?i)file:/+(?:localhost/+)?(?=(\w:/)?)(.+)", str(path)):
        return f" It is an address: give the path alone: {'' if local[1] else '/'}{unquote(local[2])}"
    return (
        " It is an address, and only files of this machine are read: download it first, and give the path of the copy."
    )


def count_of(number: int, thing: str) -> str:
    """A number and the thing that is counted, in singular or plural.

    >>> count_of(1, "sample"), count_of(20, "sample")
    ('1 sample', '20 samples')

    Args:
        number: how many there are.
        thing: one of them; several have an s behind.

    Returns:
        Both, with a blank between.
    """
    return f"{number} {thing}{'s' * (number != 1)}"


def csv_text_cell(text: str) -> str:
    """Text that no spreadsheet reads as a formula.

    >>> csv_text_cell("=HYPERLINK(1)"), csv_text_cell("a=1")
    ("'=HYPERLINK(1)", 'a=1')
    """
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def first_line(error: BaseException) -> str:
    """The first line of an error's message, 200 characters of it; its type's name where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200] or type(error).__name__


class HarmlessStream:
    """A stream that writes texts through `writable`; all else is delegated to the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(writable(text))

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _is_harmless(character: str) -> bool:
    return character in _ALLOWED or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _number(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
