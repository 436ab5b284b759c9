"""Output on the terminal, wrapped to its width."""

from __future__ import annotations

import sys
from pathlib import Path

from qat.wrapping import columns_of, wrap


def width() -> int | None:
    """Columns of the terminal; None where text goes to a file or a pipe, which has no width."""
    return columns_of(sys.stdout)


def say(text: str) -> None:
    """Print sentences wrapped to the terminal's width; lines that begin with a space stay whole."""
    print(wrap(text, width()), flush=True)


def relative_to_cwd(path: Path) -> Path:
    """The path relative to the working directory where it lies below it, else absolute."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
