"""What C++ libraries write to descriptor 2, held back and sifted. Standard library only."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_NOTICE = re.compile(
    rb"^(I\d{4} |WARNING: All log messages before absl|[WE]\d{4} .*(cuda|cudart|cuInit|computation_placer))"
)


@contextmanager
def held_back_stderr() -> Iterator[None]:
    """Hold back what is written to descriptor 2, by C++ too; what is no notice is printed afterwards."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            for line in held:
                if not _NOTICE.match(line):
                    os.write(2, line)
