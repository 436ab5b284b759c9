"""Restrict the calling process permanently: memory, time, and every write to the file system.

Standard library only: child processes that import nothing else of `qat` start with it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

EXPECTED_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, MemoryError, OverflowError)
"""What the TFLite runtime raises where it refuses a file, or lacks memory."""

_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # system calls; the numbers are the same on all architectures
_VERSION = 1  # flag that asks for the ABI

# Rights of Landlock that change something or start a program, and the ABI that brought them (linux/landlock.h)
_EXECUTE, _WRITE_FILE, _REMOVE_DIR, _REMOVE_FILE = 1 << 0, 1 << 1, 1 << 4, 1 << 5
_MAKE = sum(1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_TCP = 0b11  # bind and connect


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def describe_exit(code: int) -> str:
    """How a child process ended, by its return code.

    >>> describe_exit(-9), describe_exit(1)
    ('SIGKILL', 'exit code 1')
    """
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def limit(memory_bytes: int, seconds: int | None = None) -> None:
    """Limit this process; it writes no core dump, and no file can grow.

    Args:
        memory_bytes: bytes of address space that the process may add to what it has now.
        seconds: seconds of processor time after which the system ends the process; None sets no limit.
    """
    for kind, value in (
        (resource.RLIMIT_AS, _address_space() + memory_bytes),
        (resource.RLIMIT_CPU, seconds if seconds is not None else resource.RLIM_INFINITY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY and not 0 <= value <= hard:
            value = hard
        resource.setrlimit(kind, (value, value))


def forbid_writing() -> bool:
    """Forbid this process to create, change, rename or remove files, folders and links, to start programs, to use TCP.

    Uses Landlock, which needs no privilege. Returns False on a system without it: there only `limit` applies, under
    which files cannot grow.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    if abi < 1:
        return False
    rights = _EXECUTE | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL)):
        rights |= right if abi >= since else 0
    rules = _Ruleset(rights, _TCP if abi >= 4 else 0, 0)
    size = ctypes.sizeof(rules) if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    done = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    done = done and libc.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0
    os.close(ruleset)
    return done


def _address_space() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
