"""Keep what TensorFlow's and LiteRT's C++ code logs off the terminal."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator

from qat.stderr import redirect_stderr

VERBOSE = "QAT_CONVERTER_LOG"  # set this environment variable to see what converter and runtime print


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within the block, discard what is written to file descriptor 2, and ignore Python warnings.

    The C++ logger writes before it can be configured, so a log level does not reach it.
    """
    if os.environ.get(VERBOSE):
        yield
        return
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings(), redirect_stderr(sink):
        warnings.simplefilter("ignore")
        yield
