"""A lock is held by one at a time, says who holds it, and ends with its block."""

import errno

import pytest

from qat.errors import RunDirError
from qat.locking import is_locked, lock, translate_error


def test_a_lock_that_is_held_is_refused_by_its_holder(tmp_path):
    path = tmp_path / "folder" / ".lock"
    with lock(path):
        assert is_locked(path)
        with pytest.raises(RunDirError, match=r"is being written by process \d+ on .*Choose another folder"):
            lock(path, wait=False).__enter__()
    assert not is_locked(path)
    with lock(path, wait=False):
        assert is_locked(path)


def test_a_full_disk_is_said_in_words(tmp_path):
    told = translate_error(tmp_path / "x", OSError(errno.ENOSPC, "No space left on device"))
    assert "the disk is full" in str(told)
    assert translate_error(tmp_path, told) is told
    limited = translate_error(tmp_path / "x", OSError(errno.EFBIG, "File too large"))
    assert "ulimit -f unlimited" in str(limited)
