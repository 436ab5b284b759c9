"""A thread with a stack that deep networks fit into: TensorFlow and the converter walk graphs by recursion."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

STACK_BYTES = 512 * 2**20  # reserved, not used: EfficientNetV2M overruns the usual 8 MB, which ends the process

Result = TypeVar("Result")


def with_deep_stack(work: Callable[[], Result]) -> Result:
    """What `work` returns, or the error that it raises."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # handed over to the caller, whatever it is
            future.set_exception(error)

    usual = threading.stack_size(STACK_BYTES)
    try:
        thread = threading.Thread(target=run, daemon=True, name="deep stack")
        thread.start()
    finally:
        threading.stack_size(usual)
    thread.join()
    return future.result()
