"""What a run says on its terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from qat.wrapping import columns_of, wrap


def width() -> int | None:
    """Columns of the terminal; None where text goes to a file or a pipe, which has no width."""
    return columns_of(sys.stdout)


def say(text: str) -> None:
    print(wrap(text, width()), flush=True)


def near(path: Path) -> Path:
    """Relative to the working directory where it lies below it."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
