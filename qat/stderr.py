"""What C++ libraries write to descriptor 2, held back and sifted. Standard library only."""

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
def stderr_into(file: IO[bytes]) -> Iterator[None]:
    """What is written to descriptor 2 in the block, by C++ too, goes into `file`."""
    _flush()
    kept = os.dup(2)
    try:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(kept, 2)
    finally:
        os.close(kept)


@contextmanager
def held_back_stderr() -> Iterator[None]:
    """Hold back what is written to descriptor 2; what is no notice is printed afterwards."""
    with tempfile.TemporaryFile() as held:
        try:
            with stderr_into(held):
                yield
        finally:
            held.seek(0)
            for line in held:
                if not _NOTICE.match(line):
                    os.write(2, line)


def _flush() -> None:
    if sys.stderr is not None:  # a process without a terminal may have none
        sys.stderr.flush()
