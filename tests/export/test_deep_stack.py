"""A call in a thread with a deep stack gives what the call gives, its errors too."""

import threading

import pytest

from qat.export.deep_stack import STACK_BYTES, with_deep_stack


def test_results_and_errors_come_back():
    assert with_deep_stack(lambda: threading.current_thread().name) == "deep stack"
    with pytest.raises(ValueError, match="not this"):
        with_deep_stack(lambda: int("not this"))


def test_the_stack_is_deep_and_other_threads_keep_theirs():
    before = threading.stack_size()
    assert with_deep_stack(threading.stack_size) in (before, STACK_BYTES)
    assert threading.stack_size() == before
