"""Calls with stacks that deep networks fit into: TensorFlow and the converter walk graphs by recursion."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

STACK_BYTES = 256 * 2**20  # reserved, not used: EfficientNetV2M overruns the usual 8 MB, which ends the process
_ATTRIBUTE_BYTES = 128  # at least a pthread_attr_t, 56 or 64 bytes

Result = TypeVar("Result")


def with_deep_stack(work: Callable[[], Result]) -> Result:
    """What `work` returns, or the error that it raises; run in a thread, and so are the threads that it starts."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # handed over to the caller, whatever it is
            future.set_exception(error)

    with _deep_threads():
        thread = threading.Thread(target=run, daemon=True, name="deep stack")
        thread.start()
        thread.join()
    return future.result()


@contextlib.contextmanager
def _deep_threads() -> Iterator[None]:
    """New threads have deep stacks: Python's own, and, where the C library can be told, the converter's pool."""
    usual = threading.stack_size(STACK_BYTES)
    previous = _set_default(STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(usual)
        if previous is not None:
            _set_default(previous)


def _set_default(stack_bytes: int) -> int | None:
    """glibc's default for threads of C and C++; returns what it was, None where there is no such setting."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "pthread_setattr_default_np"):
        return None
    attribute, previous = ctypes.create_string_buffer(_ATTRIBUTE_BYTES), ctypes.c_size_t()
    if library.pthread_getattr_default_np(attribute):
        return None
    library.pthread_attr_getstacksize(attribute, ctypes.byref(previous))
    library.pthread_attr_setstacksize(attribute, ctypes.c_size_t(stack_bytes))
    library.pthread_setattr_default_np(attribute)
    return previous.value
