"""Import TensorFlow without the page of start-up notices that its libraries print, and without a cost afterwards."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import logging
import os
from collections.abc import Iterator

from qat.cli.limited_memory import try_import
from qat.stderr import filter_stderr

_CHATTY = {
    "absl": logging.WARNING,  # a line for every conversion
    "matplotlib": logging.WARNING,  # a line for the first font
    "tensorflow": logging.ERROR,  # a page on retracing: each job of a sweep has models, and so graphs, of its own
}
NEW_OBJECTS = 10_000  # after which garbage is searched for; Python's 700 are two nodes of a graph that is traced
# Parameters of glibc's mallopt, by their numbers in malloc.h: from which size on the kernel gives memory, what is kept
_MALLOC = {"M_MMAP_THRESHOLD": (-3, 32 << 20), "M_TOP_PAD": (-2, 64 << 20), "M_TRIM_THRESHOLD": (-1, 128 << 20)}


def import_tensorflow() -> None:
    """Import TensorFlow and let it look for devices; what it prints is held back, and printed later unless a notice.

    Raises: ConfigError where this process has a limit of memory under which the import fails or hangs.
    """
    try_import()
    keep_freed_memory()
    with without_collection(), filter_stderr():
        importlib.import_module("tensorflow").config.list_physical_devices()
        importlib.import_module("tf_keras")
    for chatty, level in _CHATTY.items():
        logging.getLogger(chatty).setLevel(level)


def keep_freed_memory() -> None:
    """Let the allocator keep what a training step frees for the next step, up to 64 MiB for each of its arenas.

    glibc gives the maps of each step back to the kernel, which clears them anew page by page: on two cores a step of
    the default job takes 1.8 times as long then (experiments/2026-11-22-main-job). Only for a process of our own; a
    user's `MALLOC_` or `GLIBC_TUNABLES` setting stays, and another C library has no such knob.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC.values():
            mallopt(parameter, value)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Search for no garbage while modules are imported, which takes a fifth of their time and finds next to nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def freeze_imports() -> None:
    """Exclude the modules imported so far from garbage collection: tracing a graph would make it scan all of them.

    Collections are rarer, too, and the process ends without one. Done once per process, so that what one job leaves
    behind can be collected.
    """
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
        atexit.register(gc.freeze)
