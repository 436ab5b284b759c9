"""Write parts of C source: identifiers, exact float literals, arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

C_TYPES = {name: f"{name}_t" for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")}
C_TYPES |= {"float32": "float", "bool": "bool"}
_C_AND_CPP = """
auto break case char class const continue default delete do double else enum extern float for goto if inline int
long namespace new operator private public register return short signed sizeof static struct switch template this
typedef union unsigned using virtual void volatile while
"""
_KEYWORDS = frozenset(_C_AND_CPP.split())


def identifier(text: str) -> str:
    """A C identifier as similar to `text` as possible.

    >>> identifier("2 heads/alpha"), identifier("class")
    ('_2_heads_alpha', 'class_')
    """
    name = re.sub(r"\W", "_", text, flags=re.ASCII) or "_"
    name = f"_{name}" if name[0].isdigit() else name
    return f"{name}_" if name in _KEYWORDS else name


def float_literal(value: float) -> str:
    """The float32 nearest to `value`, written so that a compiler reads the same bits.

    >>> float_literal(0.1), float_literal(1)
    ('0.100000001f', '1.0f')
    """
    digits = f"{np.float32(value):.9g}"
    return f"{digits}f" if any(mark in digits for mark in ".en") else f"{digits}.0f"


def array_body(values: NDArray | Sequence[int], per_line: int = 16) -> str:
    """Numbers of an array initializer.

    Args:
        values: floats or integers, any shape; written in C order.
        per_line: how many numbers stand on a line of text.

    Returns:
        Lines of C, indented by 4 spaces, without the braces; floats as float32 literals.
    """
    flat = np.asarray(values).reshape(-1)
    is_float = flat.dtype.kind == "f"
    literals = [float_literal(v) if is_float else _integer_literal(int(v)) for v in flat]
    lines = [", ".join(literals[i : i + per_line]) for i in range(0, len(literals), per_line)]
    return "".join(f"    {line},\n" for line in lines)


def _integer_literal(value: int) -> str:
    # C has no negative literals: the smallest int64 would be the negation of a number that does not fit.
    if value == np.iinfo(np.int64).min:
        return "(-9223372036854775807LL - 1)"
    return f"{value}LL" if abs(value) > np.iinfo(np.int32).max else str(value)


def bytes_body(content: bytes, per_line: int = 16) -> str:
    """Bytes of an array initializer; fast, since a model has millions.

    Args:
        content: bytes of any number, as those of a file.
        per_line: how many bytes stand on a line of text.

    Returns:
        Lines of C, indented by 4 spaces, without the braces; each byte as 0x00 to 0xff.
    """
    literals = [f"0x{byte:02x}" for byte in range(256)]
    lines = (content[i : i + per_line] for i in range(0, len(content), per_line))
    return "".join(f"    {', '.join([literals[byte] for byte in line])},\n" for line in lines)
