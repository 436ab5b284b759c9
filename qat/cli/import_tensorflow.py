"""Import TensorFlow without the page of start-up notices that its libraries print, and without a cost afterwards."""

from __future__ import annotations

import gc
import importlib
import logging

from qat.stderr import filter_stderr

_CHATTY = {
    "absl": logging.WARNING,  # a line for every conversion
    "matplotlib": logging.WARNING,  # a line for the first font
    "tensorflow": logging.ERROR,  # a page on retracing: each job of a sweep has models, and so graphs, of its own
}


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices; what it prints meanwhile and is no notice is printed after it."""
    with filter_stderr():
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
