"""Import TensorFlow without the page of start-up notices that its libraries print, and without a cost afterwards."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_NOTICE = re.compile(
    rb"^(I\d{4} |WARNING: All log messages before absl|[WE]\d{4} .*(cuda|cudart|cuInit|computation_placer))"
)
_CHATTY = {
    "absl": logging.WARNING,  # a line for every conversion
    "matplotlib": logging.WARNING,  # a line for the first font
    "tensorflow": logging.ERROR,  # a page on retracing: each job of a sweep has models, and so graphs, of its own
}


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices; what it prints meanwhile and is no notice is printed after it."""
    with _held_back_stderr():
        importlib.import_module("tensorflow").config.list_physical_devices()
        importlib.import_module("tf_keras")
    for chatty, level in _CHATTY.items():
        logging.getLogger(chatty).setLevel(level)


def spare_imports() -> None:
    """Let Python's collector pass over what is imported by now, and stays: tracing a graph makes it look at all of it.

    Once a process: what is left of one job is not to be kept for the others.
    """
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()


@contextmanager
def _held_back_stderr() -> Iterator[None]:
    """C++ writes to descriptor 2 itself, so the descriptor is what is turned away."""
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
