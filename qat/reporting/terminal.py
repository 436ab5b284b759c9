"""The terminal's width, and paths as they are shown on it."""

from __future__ import annotations

import sys
from pathlib import Path

from qat import wrapping


def width() -> int | None:
    """Columns of the terminal; None where text goes to a file or a pipe, which has no width."""
    return wrapping.columns_of(sys.stdout)


def relative_to_cwd(path: Path) -> Path:
    """The path relative to the working directory where it lies below it, else absolute."""
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
