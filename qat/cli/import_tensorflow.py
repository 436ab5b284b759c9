"""Import TensorFlow without the page of start-up notices that its libraries print, and without a cost afterwards."""

from __future__ import annotations

import gc
import importlib
import logging

from qat.cli.limited_memory import try_import
from qat.stderr import filter_stderr

_CHATTY = {
    "absl": logging.WARNING,  # a line for every conversion
    "matplotlib": logging.WARNING,  # a line for the first font
    "tensorflow": logging.ERROR,  # a page on retracing: each job of a sweep has models, and so graphs, of its own
}


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices; what it prints is held back, and printed later unless a notice.

    Raises: ConfigError where this process has a limit of memory under which the import fails or hangs.
    """
    try_import()
    with filter_stderr():
        importlib.import_module("tensorflow").config.list_physical_devices()
        importlib.import_module("tf_keras")
    for chatty, level in _CHATTY.items():
        logging.getLogger(chatty).setLevel(level)


def freeze_imports() -> None:
    """Exclude the modules imported so far from garbage collection: tracing a graph would make it scan all of them.

    Done once per process, so that what one job leaves behind can be collected.
    """
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()
