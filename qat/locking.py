"""Locks between processes, and what is said where a file cannot be written. Stdlib only."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qat.errors import RunDirError

_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def lock(path: Path, *, wait: bool = True, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold an exclusive lock within the block; it also ends with the process.

    flock works between processes and threads, and, on Linux, between clients of NFS. On a file system without locks
    the block runs without one: two processes may then do the same work, but every write here is atomic by itself.

    Args:
        path: path of the lock file, which is created and stays.
        wait: False raises at once if another process holds the lock.
        on_wait: called once, before waiting, with who holds the lock, in words; None says nothing.

    Yields:
        None.

    Raises:
        RunDirError: `wait` is False and the lock is held, or the file cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _open_lock(path)
    except OSError as error:
        raise translate_error(path, error) from error
    try:
        _acquire(descriptor, path, wait, on_wait)
        yield
    finally:
        os.close(descriptor)  # releases it


def _acquire(descriptor: int, path: Path, wait: bool, on_wait: Callable[[str], None] | None) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        if not wait:
            raise RunDirError(f"{path.parent} is being written by {holder}. Choose another folder, or wait.") from None
        if on_wait is not None:
            on_wait(holder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS_HERE:
            raise translate_error(path, error) from error
        return
    with suppress(OSError):  # another user's file, which is only read
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)  # what a link leads to is not ours
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # flock needs no more


def translate_error(path: Path, error: OSError) -> RunDirError:
    """The error of a file that cannot be written, in words.

    Args:
        path: file or folder that could not be written, for the message.
        error: what the operating system raised; its `errno` tells a full disk from a folder that cannot be written.

    Returns:
        The error to raise; `error` itself where it is one already.
    """
    if isinstance(error, RunDirError):
        return error
    if error.errno == errno.EFBIG:
        return RunDirError(
            f"{path}: no file may be so large here ({error.strerror}). Raise the limit of this shell, as ulimit -f "
            "unlimited, or choose a folder of another file system, as hydra.run.dir=DIR."
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunDirError(f"{path}: the disk is full ({error.strerror}). Free some space, or choose another folder.")
    return RunDirError(f"{path}: cannot be written ({error.strerror}). Choose another folder, as hydra.run.dir=DIR.")


def is_locked(path: Path) -> bool:
    """Whether a lock file is held; False where there is none, and on a file system without locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would block for ever
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False
