"""Redirect or filter what C++ libraries write to file descriptor 2. Standard library only."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

_NOTICE = re.compile(
    rb"^(I\d{4} |WARNING: All log messages before absl|[WE]\d{4} .*(cuda|cudart|cuInit|computation_placer))"
)


@contextmanager
def redirect_stderr(file: IO[bytes]) -> Iterator[None]:
    """Within the block, write into `file` what Python and C++ write to descriptor 2."""
    _flush()
    original = os.dup(2)
    try:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(original, 2)
    finally:
        os.close(original)


@contextmanager
def filter_stderr() -> Iterator[None]:
    """Capture what is written to descriptor 2 within the block; print it afterwards, without TensorFlow's notices."""
    with tempfile.TemporaryFile() as captured:
        try:
            with redirect_stderr(captured):
                yield
        finally:
            captured.seek(0)
            for line in captured:
                if not _NOTICE.match(line):
                    os.write(2, line)


def _flush() -> None:
    if sys.stderr is not None:  # a process without a terminal may have none
        sys.stderr.flush()
